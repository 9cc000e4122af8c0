"""Photographs as a user has them: arrays, paths, images of Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from uir.core.images import read_image

_CONVERTED = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}


def as_array(image: np.ndarray | str | Path | Image.Image) -> np.ndarray:
    """The pixels of a photograph [H, W] or [H, W, C], upright.

    Raises:
        FileNotFoundError: there is no file of that path.
        UnreadableImageError: the file cannot be read as one image.
        ValueError: it is something else.
    """
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "P":
            return np.asarray(upright.convert("RGBA" if upright.has_transparency_data else "RGB"))
        kind = _CONVERTED.get(upright.mode, upright.mode)
        return np.asarray(upright if kind == upright.mode else upright.convert(kind))
    if not isinstance(image, np.ndarray):
        raise ValueError(f"expected an image as an array, a path or an image of Pillow, got {type(image).__name__}")
    return image


def as_pillow(image: np.ndarray) -> Image.Image:
    """An image of Pillow with the pixels of `as_array`."""
    return Image.fromarray(image)
