"""Large TIFF files by strips: read a few rows at a time, so that an image is never wholly in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from uir.core.image_metadata import Metadata, read_metadata
from uir.core.tiff import is_unpacked_here, judged_pages, judging

LARGE = 2**25
"""Pixels from which on a page is read by strips; below, reading it at once is simpler and as good."""
_KEPT = 2**28  # bytes of decoded strips or tiles that are kept, because neighbouring tiles read the same ones
_BLACK_IS_ZERO, _RGB = 1, 2
_ORIENTATION = 274


class StripedPage:
    """The one page of a TIFF file, as an array [H, W, C] of which parts are read when they are asked for.

    Args:
        page: tifffile's page, of an open file.
        name: of the file, for messages.
        metadata: of the file.
    """

    ndim = 3

    def __init__(self, page: Any, name: str, metadata: Metadata) -> None:
        self.shape: tuple[int, ...] = (page.imagelength, page.imagewidth, page.samplesperpixel)
        self.dtype: np.dtype = np.dtype(page.dtype).newbyteorder("=")
        self.metadata = metadata
        self._page, self._name = page, name
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._bytes = 0

    def __getitem__(self, place: tuple[slice, slice, slice]) -> np.ndarray:
        """The pixels of these rows, columns and channels, [h, w, C]; slices without steps."""
        (top, bottom, _), (left, right, _) = (
            part.indices(n) for part, n in zip(place[:2], self.shape[:2], strict=True)
        )
        pixels = np.empty((bottom - top, right - left, self.shape[2]), self.dtype)
        tall, wide = self._page.chunks[:2]
        across = -(-self.shape[1] // wide)
        for row in range(top // tall, -(-bottom // tall)):
            for column in range(left // wide, -(-right // wide)):
                part = self._part(row * across + column)
                y, x = row * tall, column * wide
                rows = slice(max(top, y), min(bottom, y + part.shape[0]))
                columns = slice(max(left, x), min(right, x + part.shape[1]))
                cut = part[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
                pixels[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = cut
        return pixels[..., place[2]]

    def _part(self, index: int) -> np.ndarray:
        """A strip or tile of the file, [h, w, C]."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        page = self._page
        with judging(self._name):
            file = page.parent.filehandle
            file.seek(page.dataoffsets[index])
            decoded = page.decode(file.read(page.databytecounts[index]), index)[0]
            part: np.ndarray = decoded[0].astype(self.dtype, copy=False)
        self._kept[index], self._bytes = part, self._bytes + part.nbytes
        while self._bytes > _KEPT and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return part


@contextmanager
def striped_page(path: str | Path, max_pixels: int | None = None) -> Iterator[StripedPage | None]:
    """Open a large TIFF of one page by strips.

    Args:
        path: the file.
        max_pixels: as for `check_size`.

    Yields:
        The page; None for another file, a small page, several pages, or a kind of pixels that is not read by strips
        (alpha, inks, palettes, a turned image, or another compression than none and deflate).

    Raises:
        UnreadableImageError: it is a TIFF, and damaged or too large.
    """
    if Path(path).suffix.lower() not in (".tif", ".tiff") or not Path(path).is_file():
        yield None
        return
    import tifffile  # takes 0.15 s to load, and only TIFFs need it

    with open(path, "rb") as file:
        if file.read(2) not in (b"II", b"MM"):
            yield None
            return
        file.seek(0)
        with judging(str(path)):
            tiff = tifffile.TiffFile(file)
        pages = list(judged_pages(tiff, str(path), max_pixels).values())
        if len(pages) > 1 or not _is_for_strips(pages[0]):
            yield None
            return
        with open(path, "rb") as head:
            metadata = read_metadata(head)
        yield StripedPage(pages[0], str(path), metadata)


def _is_for_strips(page: Any) -> bool:
    tag = page.tags.get(_ORIENTATION)
    return (
        page.imagelength * page.imagewidth >= LARGE
        and is_unpacked_here(page)
        and int(page.photometric) in (_BLACK_IS_ZERO, _RGB)
        and page.samplesperpixel in (1, 3)
        and (page.samplesperpixel == 1 or int(page.planarconfig) == 1)
        and page.dtype in (np.uint8, np.uint16, np.float32)
        and page.bitspersample in (8, 16, 32)
        and (tag is None or int(tag.value) == 1)
    )
