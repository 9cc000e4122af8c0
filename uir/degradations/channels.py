"""Colours for images with any number of channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def per_channel(values: float | Sequence[float], channels: int) -> Tensor:
    """One value per channel as float64 [C, 1, 1]; if the numbers differ, their mean as [1, 1, 1]."""
    colour = torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1)
    return colour if len(colour) == channels else colour.mean(dim=0, keepdim=True)


def grey_plane(image: Tensor) -> Tensor:
    """Luma [..., 1, H, W] of an RGB image [..., 3, H, W]; otherwise the mean of the channels."""
    if image.shape[-3] != len(LUMA):
        return image.mean(dim=-3, keepdim=True)
    red, green, blue = image.split(1, dim=-3)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
