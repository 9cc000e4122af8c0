"""The colours in which a dataset gives its images: RGB, grey or the luma."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from uir.core.images import to_grey, to_rgb, to_tensor

# The names of `color`, and what the one channel of an image is called in a table.
COLORS = {"rgb": "", "grey": "grey, full range", "y": "Y, studio range"}


def check_color(color: str | None) -> str:
    """The option `color`, RGB where it is not given.

    Raises:
        ValueError: it is not one of `COLORS`.
    """
    if color is not None and color not in COLORS:
        raise ValueError(f"color: got '{color}'; expected rgb, grey or y")
    return color or "rgb"


def colored(image: np.ndarray, color: str, path: str) -> Tensor:
    """An image of a file as float32 [3 or 1, H, W].

    Args:
        image: as from `uir.core.images.read_image`.
        color: `rgb`; `grey`, in [0, 1] (see `to_grey`); or `y`, the luma of BT.601 (16/255 to 235/255), as in BasicSR.
        path: of the file, for messages.
    """
    if color == "grey":
        return to_tensor(to_grey(image, path))
    rgb = to_tensor(to_rgb(image, path))
    if color == "rgb":
        return rgb
    weights = torch.tensor([65.481, 128.553, 24.966])  # ITU-R BT.601, studio range
    return ((rgb * weights[:, None, None]).sum(0, keepdim=True) + 16.0) / 255.0


def channel_of(dataset: object) -> str:
    """What the only channel of a dataset's images is, for the heading of a table; wrappers are looked into."""
    inner: object | None = dataset
    while inner is not None:
        if hasattr(inner, "color"):
            return COLORS.get(inner.color) or "one channel"
        inner = getattr(inner, "dataset", None)
    return "one channel"
