"""Poisson counts as a function of a standard normal field: exact, smooth in the rate, and the same on every device.

A count is the quantile of the Poisson law at Φ(z), z standard normal. So two images that differ little get, from one
seed, noise that differs little. Small rates use a table of the exact quantiles, large ones Giles' asymptotic
expansion of the quantile (ACM Transactions on Mathematical Software 42, 2016, Algorithm 955). The total-variation
distance from the exact law is below 1e-5 at every rate.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

LEVELS = 256
TABLE_ALONE_TO = 256.0  # up to this many photons all levels use the table, which is faster when it is cached
EXPANSION_FROM = 48.0  # the smallest rate for the expansion; at 36 its error is below 1e-5
REACH, CELLS_PER_UNIT = 6, 20  # the tables span |z| < 6; up to rate 256 the quantiles are more than a cell apart
CELLS = 2 * REACH * CELLS_PER_UNIT
CHUNK = 1 << 15  # number of pixels whose intermediate results fit into a core's cache


def poisson_deviation(levels: Tensor, photons: float, z: Tensor) -> Tensor:
    """Count minus rate, k − λ, of Poisson counts k of rate λ = photons·level/255.

    Args:
        levels: [..., C, H, W] whole grey levels 0–255 in a floating type.
        photons: the rate at white, above 0.
        z: standard normal [C, H, W] of the same type on the same device, or [1, H, W].

    Returns:
        A tensor of the shape of `levels`, or of the broadcast shape.
    """
    levels, z = torch.broadcast_tensors(levels, z)
    flat_levels, flat_z = levels.reshape(-1), z.reshape(-1)
    result = torch.empty_like(flat_levels)
    chunk = CHUNK if levels.device.type == "cpu" else flat_levels.numel()
    for start in range(0, flat_levels.numel(), chunk):
        part = slice(start, start + chunk)
        result[part] = _deviation(flat_levels[part], photons, flat_z[part])
    return result.view(levels.shape)


def _deviation(levels: Tensor, photons: float, z: Tensor) -> Tensor:
    if levels.is_meta:
        return torch.empty_like(levels)
    # the number of levels, from black on, that have a table
    tabulated = LEVELS if photons <= TABLE_ALONE_TO else math.ceil(EXPANSION_FROM * 255 / photons)
    lowest, highest = (float(end) for end in levels.aminmax())
    if highest < tabulated:
        return _from_table(levels, photons, z, tabulated)
    far = _from_expansion(levels, photons, z)
    if lowest >= tabulated:
        return far
    dark = (levels < tabulated).nonzero().squeeze(1)
    return far.index_copy_(0, dark, _from_table(levels[dark], photons, z[dark], tabulated))


def _from_expansion(levels: Tensor, photons: float, z: Tensor) -> Tensor:
    """Giles' Q_N2: λ + √λ·z + (1/3 + z²/6) − (z + z³/2)/(36·√λ) + (−8/405 + 7z²/810 + z⁴/270)/λ, rounded down.

    The whole part of λ is left out on both sides, so float32 is precise enough.
    """
    rate = levels * (photons / 255)
    root = rate.clamp_(min=1e-3).sqrt()
    square = z * z
    last = (square * (1 / 270)).add_(7 / 810).mul_(square).sub_(8 / 405).div_(root)
    last.sub_((square + 2).mul_(z).mul_(1 / 72)).div_(root)
    fraction = rate.frac_()
    quantile = last.add_(square.mul_(1 / 6)).add_(root.mul_(z)).add_(1 / 3).add_(fraction)
    return quantile.floor_().sub_(fraction)


def _from_table(levels: Tensor, photons: float, z: Tensor, tabulated: int) -> Tensor:
    below, step = (table.to(levels) for table in quantile_table(photons, tabulated))
    cell = ((z + REACH) * CELLS_PER_UNIT).floor_().clamp_(0, CELLS - 1)
    index = (levels * CELLS).add_(cell).to(torch.int32)
    counts = below.index_select(0, index).add_(z >= step.index_select(0, index))
    return counts.sub_(levels * (photons / 255))


@functools.lru_cache(maxsize=16)
def quantile_table(photons: float, tabulated: int) -> tuple[Tensor, Tensor]:
    """The quantile as a step function of z for the levels below `tabulated`: two flat tables of `tabulated`·CELLS.

    For every cell of width 1/20 of −6 ≤ z < 6: the count at its lower end, and the position within it where the count
    rises by one (infinity if it does not).
    """
    rates = torch.arange(tabulated, dtype=torch.float64)[:, None] * (photons / 255)
    most = math.ceil(float(rates.max()) + 9 * math.sqrt(float(rates.max())) + 15)
    counts = torch.arange(most, dtype=torch.float64)
    log_p = torch.special.xlogy(counts, rates) - rates - torch.lgamma(counts + 1)
    z = torch.special.ndtri(log_p.exp_().cumsum(1).clamp_(max=1))  # the z at which count k changes to k + 1
    cell = ((z + REACH) * CELLS_PER_UNIT).floor_().clamp_(-1, CELLS).long() + 1
    row = torch.arange(tabulated)[:, None] * (CELLS + 2)
    steps = torch.zeros(tabulated * (CELLS + 2), dtype=torch.float64)
    steps.index_add_(0, (row + cell).flatten(), torch.ones(z.numel(), dtype=torch.float64))
    position = torch.full_like(steps, math.inf).index_copy_(0, (row + cell).flatten(), z.flatten())
    below = steps.view(tabulated, -1).cumsum(1)[:, :CELLS]
    return below.float().flatten(), position.view(tabulated, -1)[:, 1:-1].float().flatten()
