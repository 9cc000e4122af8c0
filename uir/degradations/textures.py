"""Random textures: a plasma fractal, frost, splashes. All are drawn on the CPU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from uir.degradations.fields import normal, spread

Size = tuple[int, int]
EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=np.float32)
FARTHEST_PX = 20.0
FROST_DECAY = 1.6
FEATHERS = 6  # per cell


def diamond_square(size: Size, decay: float, generator: torch.Generator) -> Tensor:
    """A plasma fractal [1, H, W], cut from a square with a power-of-two side, on which it spans [0, 1].

    Midpoints of squares, then of diamonds, are the mean of four neighbours plus uniform noise, whose amplitude is
    divided by `decay` from step to step (Fournier et al., CACM 1982); the square is a torus.
    """
    side = 1 << max(1, (max(size) - 1).bit_length())
    draws = torch.rand(side * side, generator=generator, device=generator.device).cpu().numpy() * 2 - 1
    surface = np.zeros((side, side), dtype=np.float32)
    step, amplitude, used = side, np.float32(1), 0
    while step > 1:
        half = step // 2
        count = (side // step) ** 2
        noise = amplitude * draws[used : used + 3 * count].reshape(3, side // step, side // step)
        used += 3 * count
        corner = surface[::step, ::step].copy()
        right, below = np.roll(corner, -1, axis=1), np.roll(corner, -1, axis=0)
        centre = (corner + right + below + np.roll(right, -1, axis=0)) / 4 + noise[0]
        surface[half::step, half::step] = centre
        surface[::step, half::step] = (corner + right + centre + np.roll(centre, 1, axis=0)) / 4 + noise[1]
        surface[half::step, ::step] = (corner + below + centre + np.roll(centre, 1, axis=1)) / 4 + noise[2]
        step, amplitude = half, np.float32(amplitude / decay)
    return spread(torch.from_numpy(surface))[None, : size[0], : size[1]].contiguous()


def frost_crystals(size: Size, crystal_px: float, generator: torch.Generator) -> Tensor:
    """Frost [1, H, W] in [0, 1]: Voronoi cells with bright seams (Worley, SIGGRAPH 1996), feathered within.

    Each cell has its own direction. Feathers leave the line through the cell's point in that direction at 60°, as ice
    grows. A plasma fractal adds grain and patches. Drawn at half the resolution.
    """
    height, width = ((length + 1) // 2 for length in size)
    cell_px = crystal_px / 2
    rows, columns = math.ceil(height / cell_px), math.ceil(width / cell_px)
    draws = torch.rand(3, rows + 2, columns + 2, generator=generator, device=generator.device).cpu()
    grain = diamond_square((height, width), FROST_DECAY, generator)[0]
    y, x = torch.arange(height) / cell_px + 1, torch.arange(width) / cell_px + 1
    row, column = y.long(), x.long()
    nearest, second = torch.full((2, height, width), math.inf)
    along, across, turn = torch.zeros(3, height, width)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            cell_y, cell_x, cell_turn = draws.index_select(1, row + down).index_select(2, column + right)
            dy = (y - (row + down))[:, None] - cell_y
            dx = (x - (column + right))[None, :] - cell_x
            distance = dy * dy + dx * dx
            closer = distance < nearest
            second = torch.minimum(second, torch.maximum(nearest, distance))
            nearest = torch.minimum(nearest, distance)
            along, across = torch.where(closer, dy, along), torch.where(closer, dx, across)
            turn = torch.where(closer, cell_turn, turn)
    seam = (1 - 6 * (second.sqrt() - nearest.sqrt())).clamp(0, 1)
    # a direction by a point on a square instead of a circle needs neither sine nor cosine
    rise, run = 2 * turn - 1, 1 - (2 * turn - 1).abs()
    length = (rise * rise + run * run).sqrt()
    stem, side = (along * rise + across * run) / length, ((across * rise - along * run) / length).abs()
    phase = FEATHERS * (stem - 0.58 * side) + 2 * grain
    ridge = (2 * (phase - phase.floor()) - 1).abs()
    stalk = (1 - 12 * side).clamp(0, 1)
    frost = (1.8 * grain - 0.3).clamp(0, 1) * (0.3 + 0.4 * ridge + 0.2 * stalk + 0.3 * seam)
    return F.interpolate(frost.clamp(0, 1)[None, None], size=size, mode="bilinear", align_corners=False)[0]


def splashes(size: Size, params: Mapping[str, Any]) -> Tensor:
    """The mask [1, H, W] ≥ 0 of ImageNet-C's spatter."""
    import cv2

    noise = params["mean"] + params["deviation"] * normal(params, *size).cpu().numpy()
    liquid = cv2.GaussianBlur(noise, (0, 0), params["sigma_px"])
    wet = liquid > params["threshold"]
    if params["liquid"] == "mud":
        mask = cv2.GaussianBlur(wet.astype(np.float32), (0, 0), params["outline_px"])
        return torch.from_numpy(np.where(mask < 0.8, np.float32(0), mask))[None]
    depth = cv2.distanceTransform(np.pad(wet.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    levels = cv2.equalizeHist((np.minimum(depth, FARTHEST_PX) * (255 / FARTHEST_PX)).astype(np.uint8))
    lit = cv2.blur(np.maximum(cv2.filter2D(levels.astype(np.float32), -1, EMBOSS), 0), (3, 3))
    mask = np.where(wet, liquid, 0) * lit
    brightest = mask.max()
    return torch.from_numpy((mask * (params["strength"] / brightest if brightest > 0 else 0)).astype(np.float32))[None]
