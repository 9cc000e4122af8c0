"""Random and smooth fields for quantities that a photograph does not contain (depth, fog density)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from uir.core.seeds import torch_generator

PLASMA_LEVELS = 5


def field_generator(params: Mapping[str, Any], stream: str = "") -> torch.Generator:
    """The generator of a recorded step's field, keyed by its `seed`, on the device where the field was first drawn.

    Args:
        params: the step, with `seed`, and `drawn_on` (a device type) if that was not the CPU.
        stream: names a second field of the same step.
    """
    key = (params["seed"], stream) if stream else (params["seed"],)
    return torch_generator(*key, device=params.get("drawn_on", "cpu"))


def normal(params: Mapping[str, Any], *shape: int, stream: str = "") -> Tensor:
    """Standard normal float32 field of a recorded step, on the device where it was first drawn."""
    generator = field_generator(params, stream)
    return torch.randn(*shape, generator=generator, device=generator.device)


def uniform(params: Mapping[str, Any], *shape: int, stream: str = "") -> Tensor:
    """Uniform float32 field in [0, 1) of a recorded step, on the device where it was first drawn."""
    generator = field_generator(params, stream)
    return torch.rand(*shape, generator=generator, device=generator.device)


def plasma(size: tuple[int, int], generator: torch.Generator, roughness: float = 0.5) -> Tensor:
    """A smooth random surface [1, H, W] that spans [0, 1], by midpoint displacement (Fournier et al., CACM 1982).

    A 2x2 grid is refined five times to 33x33. Each refinement adds noise whose amplitude is `roughness` times that of
    the refinement before. The result is interpolated to `size` bicubically. Drawn on the CPU.
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
    """A linear ramp [1, H, W] that spans [0, 1]; it rises to the top of the image, turned clockwise by `angle_deg`."""
    height, width = size
    angle = math.radians(angle_deg)
    rows = torch.linspace(1, 0, height)[:, None]
    columns = torch.linspace(0, 1, width)[None, :]
    return spread((rows * math.cos(angle) + columns * math.sin(angle))[None])


def spread(field: Tensor) -> Tensor:
    """The field, stretched linearly to span [0, 1]; zero if it is constant."""
    low, high = field.min(), field.max()
    return (field - low) / (high - low) if high > low else torch.zeros_like(field)
