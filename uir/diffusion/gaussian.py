"""Gaussian diffusion: DDPM (Ho et al., NeurIPS 2020) and DDIM (Song et al., ICLR 2021).

x_t = √ᾱ_t · x_0 + √(1 − ᾱ_t) · ε with ᾱ_t = Π (1 − β). Times count from 0 (least noise); before them ᾱ is 1.
The state may have any shape: images, or vectors of a latent space.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from uir.diffusion.noise import Draw

Estimate = Callable[[Tensor, int], Tensor]
"""Gives the network's estimate for a state and its time."""

END = -1
"""The time of the clean image."""


def linear_betas(timesteps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Variances β that grow evenly [timesteps], float64."""
    return torch.linspace(first, last, timesteps, dtype=torch.float64, device="cpu")


@dataclass(frozen=True)
class GaussianSchedule:
    """The variances of every time.

    Attributes:
        betas: β [T], float64.
        kept: ᾱ [T], float64.
    """

    betas: Tensor
    kept: Tensor

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.betas)


@functools.cache
def gaussian_schedule(timesteps: int = 1000, first: float = 1e-4, last: float = 0.02) -> GaussianSchedule:
    """Variances that grow evenly.

    Raises:
        ValueError: an argument is out of range.
    """
    if timesteps < 1 or not 0 < first <= last < 1:
        raise ValueError(f"expected times and rising variances in (0, 1), got {timesteps}, {first} and {last}")
    betas = linear_betas(timesteps, first, last)
    return GaussianSchedule(betas, kept_signal(betas))


def root_linear_betas(timesteps: int = 4, first: float = 0.1, last: float = 0.99) -> Tensor:
    """Variances β whose square roots grow evenly [timesteps], float64 (DiffIR, with few steps)."""
    return torch.linspace(first**0.5, last**0.5, timesteps, dtype=torch.float64, device="cpu").square()


def kept_signal(betas: Tensor) -> Tensor:
    """ᾱ_t: the share of the clean image's variance that is left after each time."""
    return torch.cumprod(1 - betas, 0)


def at(values: Tensor, times: Tensor, like: Tensor) -> Tensor:
    """The values of a schedule at the times of the images: [B, 1, ...], with type, device and axes of `like`."""
    picked = values[times.to(values.device)].to(like)
    return picked.view(-1, *[1] * (like.ndim - 1))


def noised(clean: Tensor, noise: Tensor, kept: Tensor | float) -> Tensor:
    """x_t of a clean image and noise, where ᾱ_t is `kept`."""
    return kept**0.5 * clean + (1 - kept) ** 0.5 * noise


def clean_of(noisy: Tensor, noise: Tensor, kept: Tensor | float) -> Tensor:
    """x_0 of x_t and the noise in it."""
    return (noisy - (1 - kept) ** 0.5 * noise) / kept**0.5


def noise_of(noisy: Tensor, clean: Tensor, kept: Tensor | float) -> Tensor:
    """The noise in x_t, of x_t and x_0."""
    return (noisy - kept**0.5 * clean) / (1 - kept) ** 0.5


def posterior_weights(betas: Tensor) -> tuple[Tensor, Tensor]:
    """The weights of x_0 and of x_t in the mean of x_{t−1} given both, for every time (DDPM, Eq. 7)."""
    kept = kept_signal(betas)
    before = torch.cat([kept.new_ones(1), kept[:-1]])
    return betas * before.sqrt() / (1 - kept), (1 - before) * (1 - betas).sqrt() / (1 - kept)


def even_times(timesteps: int, steps: int) -> list[int]:
    """Times 0, T/S, 2T/S, ... from the last to the first, and the end (WeatherDiff); the last one is below T − 1.

    Raises:
        ValueError: more steps than times.
    """
    if not 1 <= steps <= timesteps:
        raise ValueError(f"steps: expected 1 to {timesteps}, got {steps}")
    return [*reversed(range(0, timesteps, timesteps // steps)[:steps]), END]


def ddim_step(
    noisy: Tensor, noise: Tensor, kept: float, kept_next: float, eta: float = 0.0, fresh: Tensor | None = None
) -> Tensor:
    """One step from ᾱ = `kept` to a larger `kept_next` (DDIM, Eq. 12).

    Args:
        noisy: the state.
        noise: the estimate of the noise in it.
        kept, kept_next: ᾱ of both times.
        eta: 0 adds no noise (DDIM), 1 as much as DDPM.
        fresh: the added noise, needed if `eta` is not 0.
    """
    sigma = eta * ((1 - kept_next) / (1 - kept) * (1 - kept / kept_next)) ** 0.5
    state = kept_next**0.5 * clean_of(noisy, noise, kept) + max(1 - kept_next - sigma**2, 0.0) ** 0.5 * noise
    return state if fresh is None or not sigma else state + sigma * fresh


def ddim(
    estimate: Estimate, start: Tensor, kept: Tensor, times: Sequence[int], eta: float = 0.0, draw: Draw | None = None
) -> Tensor:
    """From noise to an image.

    Args:
        estimate: gives the noise in a state.
        start: the state at the first time.
        kept: ᾱ of every time.
        times: falling; the last is `END`.
        eta: as in `ddim_step`.
        draw: noise for each time that is left, needed if `eta` is not 0.
    """
    state = start
    for now, then in pairwise(times):
        left, left_next = (1.0 if time == END else float(kept[time]) for time in (now, then))
        fresh = draw(now) if draw is not None and eta and then != END else None
        state = ddim_step(state, estimate(state, now), left, left_next, eta, fresh)
    return state


def posterior_means(estimate: Estimate, start: Tensor, betas: Tensor) -> Tensor:
    """From noise to a clean state by the mean of each posterior, for networks that estimate x_0 (DiffIR).

    Args:
        estimate: gives x_0 of a state and its time.
        start: the state at the last time.
        betas: of every time.
    """
    state = start
    for time, (of_clean, of_state) in reversed(list(enumerate(zip(*posterior_weights(betas), strict=True)))):
        state = float(of_clean) * estimate(state, time) + float(of_state) * state
    return state
