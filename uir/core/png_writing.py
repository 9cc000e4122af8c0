"""PNG files written a few rows at a time, so that neither the pixels nor the packed file are ever wholly in memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from uir.core.image_metadata import Metadata

_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, grey and alpha, RGB, RGBA
_ROWS = 64  # filtered at a time
_LEFT = 1  # the filter: each byte less that of the pixel to the left
_METRES_PER_INCH = 0.0254


def write_png(
    file: BinaryIO, bands: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype, metadata: Metadata
) -> None:
    """Write bands of rows as a PNG file.

    Args:
        file: the file.
        bands: [rows, W, C]; the rows of all add up to H.
        shape: H, W and C; 1 to 4 channels.
        dtype: uint8 or uint16.
        metadata: what else to write into the file.

    Source: PNG specification, third edition, W3C 2025.
    """
    height, width, channels = shape
    head = struct.pack(">IIBBBBB", width, height, 8 * dtype.itemsize, _COLOR_TYPES[channels], 0, 0, 0)
    file.write(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head))
    for kind, content in _descriptions(metadata):
        file.write(_chunk(kind, content))
    packer = zlib.compressobj(level=1, strategy=zlib.Z_RLE)  # as fast as it gets; photographs pack little better
    for band in bands:
        for top in range(0, len(band), _ROWS):
            packed = packer.compress(_filtered(band[top : top + _ROWS]))
            if packed:
                file.write(_chunk(b"IDAT", packed))
    file.write(_chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b""))


def _descriptions(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    chunks = []
    if metadata.icc is not None:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.dpi is not None:
        per_metre = (round(value / _METRES_PER_INCH) for value in metadata.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if metadata.exif is not None:
        chunks.append((b"eXIf", metadata.exif.removeprefix(b"Exif\0\0")))
    return chunks


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _filtered(rows: np.ndarray) -> bytes:
    """Rows [h, W, C] as bytes, the high one first, each row after the number of its filter."""
    stored = np.ascontiguousarray(rows.astype(rows.dtype.newbyteorder(">"), copy=False)).view(np.uint8)
    stored = stored.reshape(len(rows), -1)
    pixel = rows.shape[2] * rows.dtype.itemsize
    filtered = np.empty((len(rows), 1 + stored.shape[1]), np.uint8)
    filtered[:, 0] = _LEFT
    filtered[:, 1 : 1 + pixel] = stored[:, :pixel]
    np.subtract(stored[:, pixel:], stored[:, :-pixel], out=filtered[:, 1 + pixel :])
    return filtered.tobytes()
