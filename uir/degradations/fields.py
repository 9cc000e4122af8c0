"""Random and smooth fields that stand in for what a photograph does not come with (depth, fog density)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

PLASMA_LEVELS = 5


def plasma(size: tuple[int, int], generator: torch.Generator, roughness: float = 0.5) -> Tensor:
    """A smooth random surface [1, H, W] that spans [0, 1], by midpoint displacement (Fournier et al., CACM 1982).

    A 2x2 grid is refined five times to 33x33; each refinement adds noise of `roughness` times the amplitude of the one
    before; the result is interpolated to `size` bicubically. Drawn on the CPU.
    """
    surface = torch.rand(1, 1, 2, 2, generator=generator)
    amplitude = 1.0
    for level in range(1, PLASMA_LEVELS + 1):
        side = 2**level + 1
        amplitude *= roughness
        finer = F.interpolate(surface, size=(side, side), mode="bilinear", align_corners=True)
        surface = finer + amplitude * (torch.rand(1, 1, side, side, generator=generator) - 0.5)
    return spread(F.interpolate(surface, size=size, mode="bicubic", align_corners=True)[0])


def ramp(size: tuple[int, int], angle_deg: float) -> Tensor:
    """A linear ramp [1, H, W] that spans [0, 1], rising to the top of the image, turned clockwise by `angle_deg`."""
    height, width = size
    angle = math.radians(angle_deg)
    rows = torch.linspace(1, 0, height)[:, None]
    columns = torch.linspace(0, 1, width)[None, :]
    return spread((rows * math.cos(angle) + columns * math.sin(angle))[None])


def spread(field: Tensor) -> Tensor:
    """The field stretched linearly to span [0, 1]; zero where it is constant."""
    low, high = field.min(), field.max()
    return (field - low) / (high - low) if high > low else torch.zeros_like(field)
