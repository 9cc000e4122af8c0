"""What an image file says besides its pixels: colour profile (ICC), EXIF, resolution; kept when it is restored."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from PIL import Image

from uir.core.image_heads import kind_of, reader_of

_ORIENTATION = 0x0112
_HEAD = 64  # bytes that show the kind of a file
_PNG_COLOURS = 25  # place of the byte that says which channels a PNG has
_STALE = (
    0x00FE, 0x00FF, 0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x0107, 0x010A, 0x0111, 0x0115, 0x0116, 0x0117, 0x0118,
    0x0119, 0x011C, 0x0122, 0x0123, 0x0124, 0x0125, 0x013D, 0x0140, 0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x014C,
    0x0152, 0x0153, 0x0154, 0x0155, 0x015B, 0x0200, 0x0201, 0x0202, 0x0207, 0x0208, 0x0209, 0x0211, 0x0212, 0x0213,
    0x0214, 0x8773,
)  # fmt: skip
"""Tags that describe how a TIFF stores its pixels; they are wrong in another file. The last one is the profile."""
_PHOTOMETRIC, _PROFILE = 0x0106, 0x8773
_STORED_IN_TIFF = {3: "palette", 5: "CMYK"}  # by the photometric interpretation
_GREY_IN_TIFF = (0, 1)
_BIG = (b"+\0", b"\0+")  # of a TIFF's head: it is a BigTIFF
_MOST_DPI = 1e6  # more is no resolution
_RESOLUTION, _UNIT = (0x011A, 0x011B), 0x0128
_INCH, _CENTIMETRE = 2, 3
_SPACES = {1: b"GRAY", 2: b"GRAY", 3: b"RGB ", 4: b"RGB "}  # of a profile, by the channels of the image
_STORED = {"CMYK": "CMYK", "P": "palette", "PA": "palette"}  # by Pillow's mode


@dataclass(frozen=True)
class Metadata:
    """What a file says besides its pixels.

    Attributes:
        icc: its colour profile.
        exif: its EXIF data, for an upright image.
        dpi: horizontal and vertical resolution in dots per inch.
        stored: how the pixels are stored that are read as RGB: "CMYK" or "palette"; empty for others.
        is_grey: the file is a PNG or TIFF of grey pixels, with alpha or without.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    stored: str = ""
    is_grey: bool = False

    def __bool__(self) -> bool:
        return self.icc is not None or self.exif is not None or self.dpi is not None

    def fitting(self, channels: int) -> Metadata:
        """The same without a profile for another kind of pixels, such as CMYK's for RGB."""
        fits = self.icc is not None and self.icc[16:20] == _SPACES[channels]
        return replace(self, icc=self.icc if fits else None)


def read_metadata(data: bytes | BinaryIO) -> Metadata:
    """The metadata of an image file, from its bytes or the open file; what is damaged is left out."""
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    head = file.read(_HEAD)
    file.seek(0)
    kind = kind_of(head)
    try:
        if kind == "TIFF":
            return _of_tiff(file, head)
        image = reader_of(kind or "", "")(file)
        # of a PNG without EXIF, Pillow would decode all pixels to look for some behind them
        is_bare = kind == "PNG" and "exif" not in image.info and not (isinstance(data, bytes) and b"eXIf" in data)
        metadata = _of_other(image, Image.Image.getexif(image) if is_bare else image.getexif())
    except Exception:  # damaged metadata makes no image unreadable
        return Metadata()
    # Pillow takes grey with alpha of 16 bits for RGBA
    return replace(metadata, is_grey=head[_PNG_COLOURS] in (0, 4)) if kind == "PNG" else metadata


def _of_other(image: Any, exif: Image.Exif) -> Metadata:
    info = image.info
    dpi = _plausible(info.get("dpi")) or _resolution(exif)
    return Metadata(info.get("icc_profile") or None, _upright(exif), dpi, _STORED.get(image.mode, ""))


def _of_tiff(file: BinaryIO, head: bytes) -> Metadata:
    """From the entries alone, because Pillow knows few kinds of pixels of TIFF."""
    exif = Image.Exif()
    if head[2:4] in _BIG:
        exif = reader_of("TIFF", "")(file).getexif()
    else:
        exif.load_from_fp(file)
    photometric, icc = exif.get(_PHOTOMETRIC, -1), exif.get(_PROFILE)
    stored = _STORED_IN_TIFF.get(photometric, "")
    return Metadata(icc or None, _upright(exif), _resolution(exif), stored, photometric in _GREY_IN_TIFF)


def _upright(exif: Image.Exif) -> bytes | None:
    for tag in (_ORIENTATION, *_STALE):
        exif.pop(tag, None)
    return exif.tobytes() if len(exif) else None


def _resolution(exif: Image.Exif) -> tuple[float, float] | None:
    """Dots per inch that EXIF names; for kinds of files with no other place for them."""
    values = [exif.get(tag, 0) for tag in _RESOLUTION]
    inches = {_INCH: 1.0, _CENTIMETRE: 1 / 2.54}.get(exif.get(_UNIT, _INCH))
    if inches is None or not all(values):
        return None
    return _plausible([float(value) / inches for value in values])


def _plausible(dpi: Any) -> tuple[float, float] | None:
    return (float(dpi[0]), float(dpi[1])) if dpi is not None and min(dpi) > 0 and max(dpi) < _MOST_DPI else None


def exif_with_resolution(metadata: Metadata) -> bytes | None:
    """EXIF data that name the resolution, too; for kinds of files with no other place for it."""
    if metadata.dpi is None:
        return metadata.exif
    exif = Image.Exif()
    if metadata.exif is not None:
        exif.load(metadata.exif)
    exif.update(zip(_RESOLUTION, metadata.dpi, strict=True))
    exif[_UNIT] = _INCH
    return exif.tobytes()
