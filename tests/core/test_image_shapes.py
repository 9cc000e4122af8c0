"""The shape of an image from the head of its file is that of the decoded image."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from uir.core.image_heads import UnreadableImageError, shape_of_head
from uir.core.images import decode_image, shape_of

SIZE = (6, 4)  # width, height


def encoded(mode: str, kind: str, **options: Any) -> bytes:
    """A random image of 6 x 4 pixels as a file."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 4)).astype(np.uint8)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
    else:
        image = Image.fromarray(pixels).convert("RGB" if mode == "P" else mode).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


FILES = {
    "grey PNG": (encoded("L", "PNG"), True),
    "RGB PNG": (encoded("RGB", "PNG"), True),
    "RGBA PNG": (encoded("RGBA", "PNG"), True),
    "PNG of 16 bits": (encoded("I;16", "PNG"), True),
    "PNG of 1 bit": (encoded("1", "PNG"), False),
    "PNG with a palette": (encoded("P", "PNG"), False),
    "grey PNG with alpha": (encoded("LA", "PNG"), False),
    "PNG with one transparent colour": (encoded("RGB", "PNG", transparency=(1, 2, 3)), False),
    "PNG on its side": (encoded("RGB", "PNG", exif=turned(6)), False),
    "grey JPEG": (encoded("L", "JPEG"), True),
    "RGB JPEG": (encoded("RGB", "JPEG"), True),
    "JPEG on its side": (encoded("RGB", "JPEG", exif=turned(8)), True),
    "JPEG upside down": (encoded("RGB", "JPEG", exif=turned(3)), True),
    "CMYK JPEG": (encoded("CMYK", "JPEG"), False),
    "BMP": (encoded("RGB", "BMP"), False),
    "WebP": (encoded("RGB", "WEBP"), False),
    "TIFF": (encoded("RGBA", "TIFF"), False),
}


@pytest.mark.parametrize("name", FILES)
def test_the_shape_is_that_of_the_decoded_image(name: str) -> None:
    data, needs_no_decoding = FILES[name]
    assert shape_of(data, name) == decode_image(data, name).shape
    assert (shape_of_head(data) is not None) == needs_no_decoding


@pytest.mark.parametrize("name", ["RGB PNG", "BMP"])
def test_a_file_that_was_cut_short_is_found(name: str) -> None:
    data, _ = FILES[name]
    with pytest.raises(UnreadableImageError):
        shape_of(data[: len(data) // 3], name)


def test_a_head_that_claims_too_many_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UIR_MAX_PIXELS", "23")
    with pytest.raises(UnreadableImageError, match="claims 6x4 = 24 pixels"):
        shape_of(FILES["RGB PNG"][0], "x")


def test_an_animation_is_refused() -> None:
    frames = [Image.new("RGB", SIZE, color) for color in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImageError, match="animation of 2 frames"):
        shape_of(buffer.getvalue(), "x")
