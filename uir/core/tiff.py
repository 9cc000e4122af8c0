"""TIFF files: every page, as stored.

Three libraries share the kinds. tifffile reads the structure of every file, and the pixels where they are plain or
deflated; it knows no other compression by itself. Pillow reads what OpenCV changes: OpenCV multiplies colours of 8 bits
by their alpha, and takes CMYK for RGBA. OpenCV reads the rest.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import cv2
import numpy as np

from uir.core.image_heads import UnreadableImageError, check_size

_PLAIN = (1, 8, 32946)  # TIFF's numbers: not compressed, deflate, deflate of old files
_PREDICTORS = (1, 2)  # none, and the difference to the pixel on the left; others are for floats
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_ALPHA_IN_COLOURS = 1  # of the tag ExtraSamples: colours are multiplied by alpha


def tiff_pages(data: bytes, name: str, max_pixels: int | None = None) -> list[Callable[[], np.ndarray]]:
    """Functions that decode the pages of a TIFF as arrays like those of `uir.core.images.read_image`.

    The structure of all pages is judged first. Thumbnails and masks are no pages.

    Args:
        data: the file's content.
        name: the name for messages.
        max_pixels: of one page, as for `check_size`.

    Raises:
        UnreadableImageError: the file is damaged or cut short, a page is too large, or its kind is not read.
    """
    import tifffile  # takes 0.15 s to load, and only TIFFs need it

    try:
        file = tifffile.TiffFile(io.BytesIO(data))
    except Exception as error:  # whatever a damaged structure makes a library raise
        raise UnreadableImageError(name, f"cannot be decoded as an image; its head is damaged ({error})") from error
    with file:
        pages = judged_pages(file, name, max_pixels)
    return [partial(_read_page, data, page, index, name) for index, page in pages.items()]


def judged_pages(file: Any, name: str, max_pixels: int | None = None) -> dict[int, Any]:
    """The pages of an open `tifffile.TiffFile` that are images, by their numbers, after a check of each.

    Args:
        file: the file.
        name, max_pixels: as for `tiff_pages`.

    Raises:
        UnreadableImageError: as for `tiff_pages`.
    """
    try:
        pages: dict[int, Any] = {index: file.pages[index] for index in range(len(file.pages))}
        stack = (file.imagej_metadata or {}).get("images", 1)
        is_cut = _next_page(file) != 0  # tifffile says nothing of a page beyond the end
    except Exception as error:
        raise UnreadableImageError(name, f"cannot be decoded as an image; its head is damaged ({error})") from error
    if is_cut:
        raise UnreadableImageError(name, "is damaged or cut short: a page lies beyond its end")
    pages = {index: page for index, page in pages.items() if not (page.is_reduced or page.is_mask)}
    if not pages:
        raise UnreadableImageError(name, "has no page that is an image")
    if stack > len(pages):
        raise UnreadableImageError(name, f"is a stack of {stack} images in one page; save them as pages")
    for page in pages.values():
        with judging(name):
            _check_page(page, name, file.filehandle.size, max_pixels)
    return pages


def _next_page(file: Any) -> int:
    """Where the file says that the page after the last one begins; 0 where there is none."""
    endian: Any = "little" if file.byteorder == "<" else "big"
    layout, offset, data = file.tiff, file.pages[-1].offset, file.filehandle
    data.seek(offset)
    tags = int.from_bytes(data.read(layout.tagnosize), endian)
    data.seek(offset + layout.tagnosize + tags * layout.tagsize)
    return int.from_bytes(data.read(layout.offsetsize), endian)


def _check_page(page: Any, name: str, size: int, max_pixels: int | None) -> None:
    check_size(page.imagewidth, page.imagelength, name, max_pixels)
    if page.imagedepth != 1:
        raise UnreadableImageError(name, f"has {page.imagedepth} layers in a page; expected 1")
    channels = page.samplesperpixel
    if channels > 4 or (page.photometric == _RGB and channels < 3):
        raise UnreadableImageError(name, f"has {channels} channels; expected 1, 3 or 4")
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    is_whole = len(parts) == math.prod(page.chunked) and all(
        offset > 0 and count > 0 and offset + count <= size for offset, count in parts
    )
    if not is_whole:
        raise UnreadableImageError(name, "is damaged or cut short: pixels lie beyond its end")


def _read_page(data: bytes, page: Any, index: int, name: str) -> np.ndarray:
    with judging(name):
        depth, photometric = page.bitspersample, int(page.photometric)
        is_plain = is_unpacked_here(page) and photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
        needs_pillow = page.samplesperpixel in (2, 4) or photometric in (_WHITE_IS_ZERO, _CMYK) or _is_planar(page)
        tag = page.tags.get(274)
        orientation = int(tag.value) if tag is not None else 1
        if orientation != 1:  # Pillow turns some images and OpenCV flips some: none of them may
            upright = (1).to_bytes(2, "little" if page.parent.byteorder == "<" else "big")
            data = data[: tag.valueoffset] + upright + data[tag.valueoffset + 2 :]
        if is_plain and depth >= 8:
            pixels = _with_tifffile(page, name)
        elif depth <= 8 and needs_pillow:
            pixels = _with_pillow(data, index)
        else:
            pixels = _with_opencv(data, page, index, name)
    return turned(pixels, orientation)


def is_unpacked_here(page: Any) -> bool:
    """Whether tifffile alone, without a library of codecs, can unpack a page."""
    return int(page.compression) in _PLAIN and int(page.predictor) in _PREDICTORS


def _is_planar(page: Any) -> bool:
    return int(page.planarconfig) == 2


@contextmanager
def judging(name: str) -> Iterator[None]:
    """Make one error of all that a damaged file lets the block raise; each library has its own errors."""
    try:
        yield
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableImageError(name, f"cannot be decoded as an image ({error})") from error


def _with_tifffile(page: Any, name: str) -> np.ndarray:
    if page.dtype not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise UnreadableImageError(name, f"has pixels of type {page.dtype}; expected uint8, uint16 or float32")
    pixels = page.asarray()
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    elif _is_planar(page):
        pixels = pixels.transpose(1, 2, 0)
    is_whole = np.issubdtype(pixels.dtype, np.integer)
    pixels = pixels.astype(pixels.dtype.newbyteorder("=") if is_whole else np.float32, copy=False)
    white = np.iinfo(pixels.dtype).max if is_whole else 1
    if int(page.photometric) == _WHITE_IS_ZERO:
        pixels = np.concatenate([white - pixels[:, :, :1], pixels[:, :, 1:]], 2).astype(pixels.dtype)
    if pixels.shape[2] == 2:
        pixels = pixels[:, :, [0, 0, 0, 1]]
    if pixels.shape[2] == 4 and tuple(page.extrasamples)[:1] == (_ALPHA_IN_COLOURS,):
        alpha = pixels[:, :, 3:].astype(np.float64)
        colours = np.divide(
            pixels[:, :, :3] * float(white), alpha, out=np.zeros(pixels[:, :, :3].shape), where=alpha > 0
        )
        colours = np.minimum(colours.round() if is_whole else colours, white)
        pixels = np.concatenate([colours.astype(pixels.dtype), pixels[:, :, 3:]], 2)
    return pixels


def _with_pillow(data: bytes, index: int) -> np.ndarray:
    from PIL import TiffImagePlugin

    image: Any = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    image.seek(index)
    kinds = {"1": "L", "P": "RGB", "LA": "RGBA", "La": "RGBA", "PA": "RGBA", "RGBa": "RGBA", "CMYK": "RGB"}
    kinds["YCbCr"] = "RGB"
    image.load()
    if image.mode == "La":
        image = image.convert("LA")
    pixels = np.asarray(image.convert(kinds[image.mode]) if image.mode in kinds else image)
    if pixels.dtype != np.uint8:
        raise ValueError(f"pixels of mode {image.mode}")
    return pixels.reshape(*pixels.shape[:2], -1)


def _with_opencv(data: bytes, page: Any, index: int, name: str) -> np.ndarray:
    buffer = np.frombuffer(data, np.uint8)
    is_read, images = cv2.imdecodemulti(buffer, cv2.IMREAD_UNCHANGED, range=(index, index + 1))
    if not is_read or not images:
        raise UnreadableImageError(name, "cannot be decoded as an image; the file is damaged, or its kind is not read")
    pixels = images[0].reshape(*images[0].shape[:2], -1)
    photometric, channels = int(page.photometric), page.samplesperpixel
    expected = (page.imagelength, page.imagewidth)
    if page.bitspersample > 8 or photometric in (_BLACK_IS_ZERO, _RGB):  # palettes and YCbCr become RGB of 8 bits
        is_stored = pixels.shape == (*expected, channels) and photometric in (_BLACK_IS_ZERO, _RGB)
    else:
        is_stored = pixels.shape[:2] == expected
    depth = np.uint8 if page.bitspersample <= 8 else page.dtype
    if not is_stored or pixels.dtype != depth or pixels.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        kind = f"{page.photometric.name}, {channels} x {page.bitspersample} bits, {page.compression.name}"
        raise UnreadableImageError(name, f"is a TIFF of a kind that is not read ({kind})")
    if pixels.dtype == np.float64:
        pixels = pixels.astype(np.float32)
    code = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}.get(pixels.shape[2])
    return pixels if code is None else cv2.cvtColor(pixels, code)


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """The upright image [H, W, C] of one with an EXIF orientation from 1 to 8; other numbers change nothing."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
