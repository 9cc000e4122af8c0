"""From the pixels of an image file to parts of tensors, and back to the file's type."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from uir.core.images import to_float
from uir.inference.tiling import Read


class Pixels(Protocol):
    """An image [H, W, C] of which parts can be read: an array, or a file that is read by strips."""

    ndim: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, place: Any) -> Any:
        """The pixels at these rows, columns and channels."""


def pixel_reader(image: np.ndarray | Pixels, takes: int | None) -> Read:
    """Parts of an image file's pixels in [0, 1], as colour [1, 3, h, w].

    For a network that takes one channel, each of the image's is an image of its own, [3 or 1, 1, h, w].

    Args:
        image: [H, W] or [H, W, 1|2|3|4]; of an even number of channels the last one is alpha, which is left out.
        takes: channels that the network takes; None if it does not say.

    Raises:
        ValueError: the array has another shape.
    """
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in range(1, 5)):
        raise ValueError(f"expected an image [H, W] or [H, W, 1|2|3|4], got shape {image.shape}")
    colours = colours_of(image)
    pixels = image[:, :, None] if image.ndim == 2 else image

    def read(rows: slice, columns: slice) -> Tensor:
        part = torch.from_numpy(to_float(np.ascontiguousarray(pixels[rows, columns, :colours]))).permute(2, 0, 1)
        return part[:, None] if takes == 1 else part[None].expand(-1, 3, -1, -1)

    return read


def colours_of(image: np.ndarray | Pixels) -> int:
    """The number of an image's channels without alpha: 1 or 3."""
    channels = image.shape[2] if image.ndim == 3 else 1
    return channels - (channels % 2 == 0)


def as_type(values: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Floats in [0, 1] as pixels of a type."""
    if np.issubdtype(kind, np.integer):
        return (values.astype(np.float64) * np.iinfo(kind).max).round().astype(kind)
    return values.astype(kind)
