"""Residual diffusion with selective hourglass mapping: DiffUIR (Zheng et al., CVPR 2024).

x_t = x_0 + ᾱ_t · R + β̄_t · ε − δ̄_t · y with the degraded image y and the residual R = y − x_0: the degraded image is
removed on the way to the noise, so that all degradations meet in nearly the same state. Images are in [−1, 1].
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from uir.diffusion.gaussian import END, Estimate, at
from uir.diffusion.noise import Draw

Sampler = Literal["published", "ddim"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)

START_NOISE = 0.1
"""Deviation of the noise that the authors start from; in training the last time has 1."""


@dataclass(frozen=True)
class ResidualSchedule:
    """The shares of every time [T], float32, and what follows from them; the names in brackets are the authors'.

    Attributes:
        residual: ᾱ (`alphas_cumsum`), the share of the residual.
        variance: β̄² (`betas2_cumsum`), the variance of the noise.
        degraded: δ̄ (`delta_cumsum`), the share of the degraded image that is removed.
        degraded_step: δ (`delta`), what it grows by.
    """

    residual: Tensor
    variance: Tensor
    degraded: Tensor
    degraded_step: Tensor

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.residual)

    @property
    def noise(self) -> Tensor:
        """β̄ (`betas_cumsum`), the deviation of the noise."""
        return self.variance.sqrt()

    def network_time(self, times: Tensor) -> Tensor:
        """The time as the network gets it: T · ᾱ_t."""
        return self.residual[times.to(self.residual.device)] * self.timesteps

    def shares(self, time: int) -> tuple[float, float, float]:
        """ᾱ, β̄ and δ̄ of one time; zeros at the end."""
        if time == END:
            return 0.0, 0.0, 0.0
        return float(self.residual[time]), float(self.noise[time]), float(self.degraded[time])


@functools.cache
def residual_schedule(timesteps: int = 1000, delta_end: float = 1.8e-3) -> ResidualSchedule:
    """The published schedule: ᾱ = 1 − √a and β̄ = √(1 − a) with a = Π(1 − b), b linear from 1e-4 to 0.02.

    Args:
        timesteps: T, at least 2.
        delta_end: δ of the last time; it grows evenly from 1e-6.

    Raises:
        ValueError: an argument is out of range.
    """
    if timesteps < 2 or delta_end < 0:
        raise ValueError(f"timesteps must be at least 2 and delta_end at least 0, got {timesteps} and {delta_end}")
    left = torch.cumprod(1 - torch.linspace(1e-4, 0.02, timesteps, device="cpu"), 0)
    delta = torch.linspace(1e-6, delta_end, timesteps, device="cpu")
    return ResidualSchedule(1 - left.sqrt(), 1 - left, delta.cumsum(0).clamp(0, 1), delta)


def diffused(
    clean: Tensor, residual: Tensor, degraded: Tensor, noise: Tensor, times: Tensor, schedule: ResidualSchedule
) -> Tensor:
    """x_t of each image [B, 3, H, W] at its time [B]."""
    of_residual, of_noise, removed = (
        at(share, times, clean) for share in (schedule.residual, schedule.noise, schedule.degraded)
    )
    return clean + of_residual * residual + of_noise * noise - removed * degraded


def noise_of(state: Tensor, residual: Tensor, degraded: Tensor, shares: tuple[float, float, float]) -> Tensor:
    """The noise in x_t, of its residual."""
    of_residual, of_noise, removed = shares
    return (state - degraded - (of_residual - 1) * residual + removed * degraded) / of_noise


def spread_times(timesteps: int, steps: int) -> list[int]:
    """`steps` times from the last one down, evenly spread, and the end: 999, 665, 332, END for three of 1000.

    Raises:
        ValueError: more steps than times.
    """
    if not 1 <= steps <= timesteps:
        raise ValueError(f"steps: expected 1 to {timesteps}, got {steps}")
    return [int(time) for time in torch.linspace(-1, timesteps - 1, steps + 1, device="cpu").flip(0).tolist()]


def start_of(degraded: Tensor, noise: Tensor, schedule: ResidualSchedule, deviation: float = START_NOISE) -> Tensor:
    """The state that sampling starts from: (1 − δ̄_T) · y and noise."""
    return (1 - schedule.shares(schedule.timesteps - 1)[2]) * degraded + deviation * noise


def sample(
    estimate: Estimate,
    degraded: Tensor,
    start: Tensor,
    schedule: ResidualSchedule,
    times: Sequence[int],
    sampler: Sampler = "published",
    eta: float = 0.0,
    draw: Draw | None = None,
) -> list[Tensor]:
    """All states from `start` to the restored image, which is the last.

    Args:
        estimate: gives the residual of a state and its time.
        degraded: y.
        start: as `start_of` makes it.
        schedule: the shares of all times.
        times: falling, the last is `END`; see `spread_times`.
        sampler: `published` moves the state by the residual and leaves the noise in it. `ddim` also reduces the noise
            that the residual implies.
        eta: for `ddim`: the share of new noise, 0 to 1.
        draw: noise for each time that is left, needed if `eta` is not 0.

    Raises:
        ValueError: there is no such sampler.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler: expected one of {', '.join(SAMPLERS)}, got {sampler!r}")
    states = [start]
    for now, then in pairwise(times):
        state = states[-1]
        residual = estimate(state, now).clamp(-1, 1)
        if then == END:
            states.append((degraded - residual).clamp(-1, 1))
            break
        before, after = schedule.shares(now), schedule.shares(then)
        moved = state - (before[0] - after[0]) * residual + (before[2] - after[2]) * degraded
        if sampler == "ddim":
            fresh = eta**2 * (before[1] ** 2 - after[1] ** 2) * after[1] ** 2 / before[1] ** 2
            kept = max(after[1] ** 2 - fresh, 0.0) ** 0.5
            moved = moved - (before[1] - kept) * noise_of(state, residual, degraded, before)
            if draw is not None and fresh:
                moved = moved + fresh**0.5 * draw(now)
        states.append(moved)
    return states
