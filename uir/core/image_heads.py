"""What the head of an image file says, judged before its pixels are decoded."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

MAX_PIXELS = 200_000_000  # more than any camera takes in one exposure; decoded, 600 MB with 8 bits per channel
VARIABLE = "UIR_MAX_PIXELS"


class UnreadableImageError(ValueError):
    """The file is not an image, or it is damaged. `path` names it."""

    def __init__(self, path: str, reason: str = "") -> None:
        super().__init__(path, reason)  # both arguments, so that the error can be pickled in a loader's worker
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.reason else self.path


@dataclass(frozen=True)
class Head:
    """What a file says of itself.

    Attributes:
        kind: PNG, JPEG, BMP, WEBP, AVIF, HEIC or TIFF.
        orientation: of EXIF, 1 to 8; 1 is upright.
    """

    kind: str
    orientation: int = 1


# The classes themselves, because `PIL.Image.open` has a limit of its own, one for the whole process.
_READERS = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys((b"heic", b"heix", b"heim", b"heis"), "HEIC")
_OTHERS = {
    b"GIF8": "GIF",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"8BPS": "Photoshop",
    b"%PDF": "PDF",
    b"v/1\x01": "EXR",
}
_ORIENTATION = 0x0112


def kind_of(data: bytes) -> str | None:
    """The kind of an image file by its first bytes; None for any other file."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8"):
        return "JPEG"
    if data[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        brands = data[8:12], *(data[i : i + 4] for i in range(16, min(int.from_bytes(data[:4], "big"), 64), 4))
        return next((kind for brand in brands if (kind := _BRANDS.get(brand)) is not None), None)
    return "BMP" if data.startswith(b"BM") else None


def reader_of(kind: str, name: str) -> Any:
    """Pillow's class for a kind of file.

    Raises:
        UnreadableImageError: what reads the kind is not installed.
    """
    if kind == "TIFF":
        from PIL import TiffImagePlugin

        return TiffImagePlugin.TiffImageFile
    if kind == "AVIF":
        from PIL import features

        if not features.check("avif"):
            raise UnreadableImageError(name, "is an AVIF file, which this Pillow cannot read; Pillow 11.3 or later can")
        from PIL import AvifImagePlugin

        return AvifImagePlugin.AvifImageFile
    if kind == "HEIC":
        try:
            import pillow_heif
        except ImportError:
            raise UnreadableImageError(name, "is a HEIC file; pip install 'uir[heif]' lets uir read it") from None
        return pillow_heif.HeifImageFile
    return _READERS[kind]


def read_head(data: bytes, name: str, max_pixels: int | None = None) -> Head:
    """Judge a file by its head: kind, size, number of frames. Nothing is decoded.

    A TIFF is only recognized; each of its pages has a head of its own (see `uir.core.tiff`).

    Args:
        data: the file's content.
        name: the name for messages.
        max_pixels: as for `check_size`.

    Raises:
        UnreadableImageError: it is of another kind, its head is damaged, it has too many pixels, or it is an animation.
    """
    kind = kind_of(data)
    if kind == "TIFF":
        return Head(kind)
    if kind is None:
        other = next((label for start, label in _OTHERS.items() if data.startswith(start)), None)
        what = f"is a {other} file" if other else "cannot be decoded as an image; the file is damaged or is no image"
        raise UnreadableImageError(name, f"{what}; PNG, JPEG, BMP, TIFF, WebP, AVIF and HEIC are read")
    reader = reader_of(kind, name)
    try:
        image = reader(io.BytesIO(data))
        frames = getattr(image, "n_frames", 1) if kind in ("PNG", "WEBP", "AVIF") else 1  # a JPEG's are previews
        # Pillow decodes a PNG to look for EXIF behind its pixels; OpenCV turns JPEGs itself
        has_exif = kind == "WEBP" or (kind == "PNG" and b"eXIf" in data)
    except (SyntaxError, OSError, ValueError, EOFError, IndexError, KeyError, TypeError) as error:
        raise UnreadableImageError(name, f"cannot be decoded as an image; its head is damaged ({error})") from error
    check_size(image.width, image.height, name, max_pixels)
    if frames > 1:
        raise UnreadableImageError(name, f"is an animation of {frames} frames; only single images are read")
    if kind == "PNG" and any(end > len(data) for _, end in _png_chunks(data)):  # OpenCV would make room for it at once
        raise UnreadableImageError(name, "is damaged or cut short: a part of it lies beyond its end")
    try:
        orientation = image.getexif().get(_ORIENTATION, 1) if has_exif else 1
    except Exception:  # damaged EXIF makes no image unreadable
        orientation = 1
    return Head(kind, orientation if orientation in range(1, 9) else 1)


def shape_of_head(data: bytes) -> tuple[int, int, int] | None:
    """The shape [height, width, channels] of an upright image, if the head of its file says it without doubt.

    A whole PNG of 8 or 16 bits in grey, RGB or RGBA, and a whole JPEG in grey or colour; None for all others: decoding
    judges them. Neither checksums nor pixels are looked at.
    """
    try:
        return {"PNG": _png_shape, "JPEG": _jpeg_shape}.get(kind_of(data) or "", lambda _: None)(data)
    except (struct.error, SyntaxError, OSError, ValueError, EOFError, IndexError, KeyError, TypeError):
        return None


_PNG_CHANNELS = {0: 1, 2: 3, 6: 4}  # by colour type, without palettes and grey with alpha
_PNG_OTHERWISE = {b"tRNS", b"acTL", b"eXIf"}  # transparency, animation, orientation


def _png_shape(data: bytes) -> tuple[int, int, int] | None:
    length, kind, width, height, depth, color = struct.unpack_from(">I4sIIBB", data, 8)
    if (length, kind) != (13, b"IHDR") or depth < 8 or color not in _PNG_CHANNELS:
        return None
    chunks = list(_png_chunks(data))
    if chunks[-1][0] != b"IEND" or any(kind in _PNG_OTHERWISE or end > len(data) for kind, end in chunks):
        return None
    return height, width, _PNG_CHANNELS[color]


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The kind of each chunk of a PNG and where it ends, to the last one that begins in the file.

    A chunk is its length, its kind, its content and a checksum.
    """
    place, kind = 8, b""
    while kind != b"IEND" and place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        place += 12 + length
        yield kind, place


def _jpeg_shape(data: bytes) -> tuple[int, int, int] | None:
    if data[-2:] != b"\xff\xd9":
        return None
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    if image.mode not in ("L", "RGB"):
        return None
    height, width, channels = image.height, image.width, len(image.getbands())
    is_turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    return (width, height, channels) if is_turned else (height, width, channels)


def check_size(width: int, height: int, name: str, max_pixels: int | None = None) -> None:
    """Refuse a file whose head claims more pixels than the limit: a few kilobytes can claim gigabytes.

    Args:
        width, height: as the head gives them.
        name: the name for messages.
        max_pixels: the limit; default the environment variable UIR_MAX_PIXELS, else 200 million.

    Raises:
        UnreadableImageError: there are more, or none.
        ValueError: the environment variable is no whole number above 0.
    """
    limit = pixel_limit() if max_pixels is None else max_pixels
    if width < 1 or height < 1:
        raise UnreadableImageError(name, f"has no pixels: {width}x{height}")
    if width * height > limit:
        raise UnreadableImageError(
            name,
            f"claims {width}x{height} = {width * height:,} pixels, more than the limit of {limit:,}; "
            f"--max_pixels of `uir restore`, or the environment variable {VARIABLE}, raises it",
        )


def pixel_limit() -> int:
    """The limit where none is given.

    Raises:
        ValueError: the environment variable is no whole number above 0.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return MAX_PIXELS
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{VARIABLE}: expected a whole number above 0, got '{text}'")
    return int(text)
