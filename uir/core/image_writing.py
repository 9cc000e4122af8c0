"""The bytes of image files: every kind, with what else a file says of itself."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image

from uir.core.image_metadata import Metadata, exif_with_resolution
from uir.core.png_writing import write_png
from uir.core.tiff_writing import Page, write_tiff

JPEG_EXTENSIONS = frozenset({".jpg", ".jpeg"})
_RESOLUTION_OF_BMP = 38  # place of the pixels per metre
_INCHES_PER_METRE = 1 / 0.0254


def write_encoded(file: BinaryIO, extension: str, pages: Sequence[Page], metadata: Metadata) -> list[str]:
    """Write pages as a file of a kind that can hold them. A PNG and a TIFF are written row by row.

    Args:
        file: a new file that can be read, too.
        extension: of the kind, such as `.png`.
        pages: what to write, RGB; one, except for a TIFF.
        metadata: what else to write into the file.

    Returns:
        What of the metadata the kind of file does not hold.

    Raises:
        ValueError: the library cannot encode the page.
    """
    metadata = metadata.fitting(pages[0][1][2])
    if extension in (".tif", ".tiff"):
        return write_tiff(file, pages, metadata)
    bands, shape, dtype = pages[0]
    if extension == ".png":
        write_png(file, bands, shape, dtype, metadata)
        return []
    image = np.concatenate(list(bands))
    image = image[:, :, [0, 0, 0, 1]] if shape[2] == 2 else image
    if extension == ".bmp" or not metadata:
        file.write(_resolved(_with_opencv(extension, image), extension, metadata))
        return [name for name, value in (("ICC", metadata.icc), ("EXIF", metadata.exif)) if value is not None]
    file.write(_with_pillow(extension, image, metadata))
    return []


def swap_red_and_blue(image: np.ndarray) -> np.ndarray:
    """Convert BGR(A) to RGB(A) and back; grey is unchanged."""
    code = {1: None, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}[image.shape[2]]
    return np.ascontiguousarray(image) if code is None else cv2.cvtColor(np.ascontiguousarray(image), code)


def _with_opencv(extension: str, image: np.ndarray) -> bytes:
    is_encoded, encoded = cv2.imencode(extension, swap_red_and_blue(image))
    if not is_encoded:
        raise ValueError(f"OpenCV could not encode an image of shape {image.shape} as {extension}")
    return encoded.tobytes()


def _resolved(encoded: bytes, extension: str, metadata: Metadata) -> bytes:
    """The bytes of a BMP with the resolution in its head; other files unchanged."""
    if extension != ".bmp" or metadata.dpi is None:
        return encoded
    changed = bytearray(encoded)
    struct.pack_into("<ii", changed, _RESOLUTION_OF_BMP, *(round(value * _INCHES_PER_METRE) for value in metadata.dpi))
    return bytes(changed)


def _with_pillow(extension: str, image: np.ndarray, metadata: Metadata) -> bytes:
    settings: dict[str, Any] = {"icc_profile": metadata.icc, "exif": metadata.exif}
    if extension in JPEG_EXTENSIONS:
        settings |= {"dpi": metadata.dpi, "quality": 95}
    else:  # a WebP has no place for the resolution but EXIF
        settings |= {"lossless": True, "exact": True, "exif": exif_with_resolution(metadata)}
    settings = {key: value for key, value in settings.items() if value is not None}
    file = io.BytesIO()
    squeezed = image[:, :, 0] if image.shape[2] == 1 else image
    Image.fromarray(squeezed).save(file, "JPEG" if extension in JPEG_EXTENSIONS else "WEBP", **settings)
    return file.getvalue()
