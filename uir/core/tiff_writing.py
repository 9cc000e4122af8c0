"""TIFF files written a few rows at a time, with colour profile, resolution and EXIF."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
from PIL import Image

from uir.core.image_metadata import Metadata

_STRIP = 2**18  # bytes of a strip, before it is packed
_LARGEST_CLASSIC = 2**32 - 2**25  # bytes of pixels; beyond, offsets of 32 bits may not be enough
_HEAD = len(b"Exif\0\0") + 8  # bytes before the entries in EXIF data

Page = tuple[Iterable[np.ndarray], tuple[int, ...], np.dtype]
"""Bands of rows [rows, W, C], the shape [H, W, C] of all together, and their type."""


def write_tiff(file: BinaryIO, pages: Sequence[Page], metadata: Metadata) -> list[str]:
    """Write pages as a TIFF file; the metadata goes into each, and EXIF into the first.

    Args:
        file: a new file that can be read, too.
        pages: of uint8, uint16 or float32, 1 to 4 channels.
        metadata: what else to write into the file.

    Returns:
        What of the metadata the file does not hold.
    """
    import tifffile  # takes 0.15 s to load, and only TIFFs need it

    size = sum(int(np.prod(shape)) * dtype.itemsize for _, shape, dtype in pages)
    is_big = size > _LARGEST_CLASSIC
    with tifffile.TiffWriter(file, bigtiff=is_big, byteorder="<") as writer:
        for bands, (height, width, channels), dtype in pages:
            rows = max(_STRIP // (width * channels * dtype.itemsize), 1)
            writer.write(
                (zlib.compress(strip.tobytes()) for strip in _strips(bands, rows)),
                shape=(height, width) if channels == 1 else (height, width, channels),
                dtype=dtype,
                photometric="minisblack" if channels <= 2 else "rgb",
                planarconfig=None if channels == 1 else "contig",
                extrasamples=["unassalpha"] if channels in (2, 4) else None,
                compression="zlib",
                rowsperstrip=rows,
                iccprofile=metadata.icc,
                resolution=metadata.dpi,
                resolutionunit="INCH" if metadata.dpi else None,
                metadata=None,
                software=False,
            )
    if metadata.exif is not None and (is_big or not _add_exif(file, metadata.exif)):
        return ["EXIF"]
    return []


def _strips(bands: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """The same rows in strips of so many; the last one may have fewer."""
    kept: np.ndarray | None = None
    for band in bands:
        kept = band if kept is None else np.concatenate([kept, band])
        full = len(kept) // rows * rows
        for top in range(0, full, rows):
            yield kept[top : top + rows]
        kept = kept[full:]
    if kept is not None and len(kept):
        yield kept


def _add_exif(file: BinaryIO, data: bytes) -> bool:
    """Add EXIF data to the first page of a TIFF file of the order `<`; whether that was possible.

    EXIF data are entries of the same form as those of a page. They are written behind the file's end, and behind them a
    list of the page's own entries and theirs, at which the file's head then points.
    """
    end = file.seek(0, 2)
    exif = Image.Exif()
    try:
        exif.load(data)
        exif.endian = "<"
        added = exif.tobytes(end + end % 2)[_HEAD:]
    except Exception:  # whatever damaged EXIF makes Pillow raise
        return False
    file.write(bytes(end % 2) + added + bytes(len(added) % 2))
    file.seek(4)
    (first,) = struct.unpack("<I", file.read(4))
    file.seek(first)
    own, following = _entries(file.read(2 + 12 * 2**10))
    entries = {**_entries(added)[0], **own}
    place = file.seek(0, 2)
    file.write(struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + following)
    file.seek(4)
    file.write(struct.pack("<I", place))
    return True


def _entries(data: bytes) -> tuple[dict[int, bytes], bytes]:
    """The entries of a page by their tags, 12 bytes each, and the 4 bytes that say where the next page is."""
    (count,) = struct.unpack_from("<H", data)
    end = 2 + 12 * count
    entries = (data[start : start + 12] for start in range(2, end, 12))
    return {struct.unpack_from("<H", entry)[0]: entry for entry in entries}, data[end : end + 4]
