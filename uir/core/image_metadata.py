"""What an image file says besides its pixels: colour profile (ICC), EXIF, resolution; kept when it is restored."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from uir.core.image_heads import kind_of, reader_of

_ORIENTATION = 0x0112
_HEAD = 64  # bytes that show the kind of a file
_STALE = (0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x0111, 0x0115, 0x0117, 0x011C, 0x0142, 0x0143, 0x0144, 0x0145)
"""Tags of EXIF that describe how a TIFF stores its pixels; they are wrong in another file."""
_METRES_PER_INCH = 0.0254
_SPACES = {1: b"GRAY", 3: b"RGB ", 4: b"RGB "}  # of a profile, by the channels of the image


@dataclass(frozen=True)
class Metadata:
    """What a file says besides its pixels.

    Attributes:
        icc: its colour profile.
        exif: its EXIF data, for an upright image.
        dpi: horizontal and vertical resolution in dots per inch.
        is_cmyk: the pixels are stored as inks; they are read as RGB.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    is_cmyk: bool = False

    def __bool__(self) -> bool:
        return self.icc is not None or self.exif is not None or self.dpi is not None

    def fitting(self, channels: int) -> Metadata:
        """The same without a profile for another kind of pixels, such as CMYK's for RGB."""
        fits = self.icc is not None and self.icc[16:20] == _SPACES[channels]
        return Metadata(self.icc if fits else None, self.exif, self.dpi)


def read_metadata(data: bytes | BinaryIO) -> Metadata:
    """The metadata of an image file, from its bytes or the open file; what is damaged is left out."""
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    kind = kind_of(file.read(_HEAD))
    file.seek(0)
    try:
        image: Any = reader_of(kind or "", "")(file)
        info = image.info
        dpi = info.get("dpi")
        return Metadata(
            info.get("icc_profile") or None,
            _upright(image),
            (float(dpi[0]), float(dpi[1])) if dpi is not None and min(dpi) > 0 else None,
            image.mode == "CMYK",
        )
    except Exception:  # damaged metadata makes no image unreadable
        return Metadata()


def _upright(image: Any) -> bytes | None:
    exif = image.getexif()
    for tag in (_ORIENTATION, *_STALE):
        exif.pop(tag, None)
    return exif.tobytes() if len(exif) else None


def with_metadata(
    extension: str, encoded: bytes, pages: Sequence[np.ndarray], metadata: Metadata
) -> tuple[bytes, list[str]]:
    """The bytes of an image file with metadata.

    Args:
        extension: of the file, such as `.png`.
        encoded: the file without metadata.
        pages: its pixels [H, W, C], uint8 or uint16, RGB.
        metadata: fitting the pixels.

    Returns:
        The file, and what its kind does not hold.
    """
    if extension == ".png":
        return _png(encoded, metadata), []
    if extension in (".tif", ".tiff"):
        return _tiff(pages, metadata), ["EXIF"] if metadata.exif else []
    if extension == ".bmp":
        return encoded, [name for name in ("icc", "exif") if getattr(metadata, name)]
    settings: dict[str, Any] = {"icc_profile": metadata.icc, "exif": metadata.exif, "dpi": metadata.dpi}
    settings = {key: value for key, value in settings.items() if value is not None}
    settings |= {"quality": 95} if extension in (".jpg", ".jpeg") else {"lossless": True, "exact": True}
    file = io.BytesIO()
    squeezed = pages[0][:, :, 0] if pages[0].shape[2] == 1 else pages[0]
    Image.fromarray(squeezed).save(file, "JPEG" if extension in (".jpg", ".jpeg") else "WEBP", **settings)
    return file.getvalue(), ["resolution"] if metadata.dpi and extension == ".webp" else []


def _png(encoded: bytes, metadata: Metadata) -> bytes:
    """A PNG with chunks after its first one, the head of 25 bytes after a signature of 8."""
    chunks = []
    if metadata.icc is not None:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    if metadata.dpi is not None:
        per_metre = (round(value / _METRES_PER_INCH) for value in metadata.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if metadata.exif is not None:
        chunks.append((b"eXIf", metadata.exif.removeprefix(b"Exif\0\0")))
    added = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    return encoded[:33] + added + encoded[33:]


def _tiff(pages: Sequence[np.ndarray], metadata: Metadata) -> bytes:
    import tifffile

    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in pages:
            channels = page.shape[2]
            writer.write(
                page[:, :, 0] if channels == 1 else page,
                photometric="minisblack" if channels == 1 else "rgb",
                extrasamples=["unassalpha"] if channels == 4 else None,
                compression="zlib",
                iccprofile=metadata.icc,
                resolution=metadata.dpi,
                resolutionunit="INCH" if metadata.dpi else None,
                metadata=None,
            )
    return file.getvalue()
