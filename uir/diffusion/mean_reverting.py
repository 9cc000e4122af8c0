"""Mean-reverting stochastic differential equations: IR-SDE (Luo et al., ICML 2023) and Refusion (CVPRW 2023).

dx = θ_t (μ − x) dt + σ_t dw with the degraded image μ and σ_t² = 2 λ² θ_t: a clean image becomes the degraded one with
noise of deviation λ. x_t has the mean μ + (x_0 − μ) e^(−θ̄_t) and the variance λ² (1 − e^(−2 θ̄_t)), where θ̄ is the
integral of θ. Times count from 0 (the clean image) to T. Every step may also pass over several times.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from uir.diffusion.gaussian import Estimate, at
from uir.diffusion.noise import Draw

Kind = Literal["cosine", "linear", "constant"]
Sampler = Literal["posterior", "sde", "ode"]
KINDS: tuple[str, ...] = get_args(Kind)
SAMPLERS: tuple[str, ...] = get_args(Sampler)


@dataclass(frozen=True)
class MeanRevertingSchedule:
    """Rates and noise of every time from 0 to T.

    Attributes:
        theta: θ of every time [T + 1].
        integral: the sum of θ up to every time, 0 at time 0.
        dt: what one time is long.
        deviation: λ, the noise at the end, in units of the image.
    """

    theta: Tensor
    integral: Tensor
    dt: float
    deviation: float

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.theta) - 1

    @property
    def sigma(self) -> Tensor:
        """σ of every time."""
        return (2 * self.deviation**2 * self.theta).sqrt()

    @property
    def kept(self) -> Tensor:
        """e^(−θ̄): the share of the clean image that is left at every time."""
        return torch.exp(-self.integral * self.dt)

    @property
    def noise(self) -> Tensor:
        """The deviation of the noise in x_t, for every time; rounded to float32 as in the authors' code."""
        return (self.deviation**2 * (1 - torch.exp(-2 * self.integral.float() * self.dt))).sqrt().double()


@functools.cache
def mean_reverting_schedule(
    timesteps: int = 100, max_sigma: float = 10.0, eps: float = 0.005, kind: Kind = "cosine"
) -> MeanRevertingSchedule:
    """The published schedules.

    Args:
        timesteps: T, at least 1.
        max_sigma: λ on the scale of 0 to 255.
        eps: the share of the clean image that is left at time T, in (0, 1).
        kind: how θ grows: `cosine`, `linear` or `constant`.

    Raises:
        ValueError: an argument is out of range.
    """
    if timesteps < 1 or max_sigma <= 0 or not 0 < eps < 1 or kind not in KINDS:
        raise ValueError(
            f"expected timesteps of at least 1, max_sigma above 0, eps between 0 and 1 and a schedule out of "
            f"{', '.join(KINDS)}; got {timesteps}, {max_sigma}, {eps} and {kind!r}"
        )
    count = timesteps + 1
    if kind == "cosine":
        place = torch.linspace(0, count + 1, count + 2, device="cpu") / (count + 1)  # in float32, as the authors do
        wave = torch.cos((place + 0.008) / 1.008 * math.pi * 0.5).square()
        theta = (1 - (wave / wave[0])[1:-1]).double()
    elif kind == "linear":
        theta = torch.linspace(0.1 / count, 20 / count, count, dtype=torch.float64, device="cpu")
    else:
        theta = torch.ones(count, dtype=torch.float64, device="cpu")
    integral = theta.cumsum(0) - theta[0]
    return MeanRevertingSchedule(theta, integral, -math.log(eps) / float(integral[-1]), max_sigma / 255)


def mean_of(clean: Tensor, degraded: Tensor, times: Tensor, schedule: MeanRevertingSchedule) -> Tensor:
    """The mean of x_t for each image at its time [B]."""
    return degraded + (clean - degraded) * at(schedule.kept, times, clean)


def diffused(clean: Tensor, degraded: Tensor, noise: Tensor, times: Tensor, schedule: MeanRevertingSchedule) -> Tensor:
    """x_t of each image at its time [B]."""
    return mean_of(clean, degraded, times, schedule) + at(schedule.noise, times, clean) * noise


def clean_of(state: Tensor, degraded: Tensor, noise: Tensor, times: Tensor, schedule: MeanRevertingSchedule) -> Tensor:
    """x_0 of x_t and the noise in it."""
    left = state - degraded - at(schedule.noise, times, state) * noise
    return left / at(schedule.kept, times, state) + degraded


def noise_of(state: Tensor, degraded: Tensor, clean: Tensor, times: Tensor, schedule: MeanRevertingSchedule) -> Tensor:
    """The noise in x_t, of x_0."""
    return (state - mean_of(clean, degraded, times, schedule)) / at(schedule.noise, times, state)


def backward_mean(
    state: Tensor,
    degraded: Tensor,
    noise: Tensor,
    times: Tensor,
    then: Tensor,
    schedule: MeanRevertingSchedule,
    sampler: Sampler = "sde",
) -> Tensor:
    """The state at earlier times by one Euler step of the reverse SDE or ODE, without its noise.

    Args:
        state: x at `times`.
        degraded: μ.
        noise: the estimate of the noise in the state.
        times, then: times of each image [B], `then` the smaller ones.
        schedule: of all times.
        sampler: `sde` or `ode`.
    """
    rate = at(
        (schedule.integral[times.cpu()] - schedule.integral[then.cpu()]) * schedule.dt, torch.arange(len(times)), state
    )
    score = -noise / at(schedule.noise, times, state)
    share = 2.0 if sampler == "sde" else 1.0
    return state - rate * (degraded - state) + share * schedule.deviation**2 * rate * score


def best_mean(
    state: Tensor, degraded: Tensor, clean: Tensor, times: Tensor, then: Tensor, schedule: MeanRevertingSchedule
) -> Tensor:
    """The mean of the state at earlier times, given x_0 and the state: the best step back (IR-SDE, Proposition 3.2)."""
    kept, kept_then = at(schedule.kept, times, state), at(schedule.kept, then, state)
    step = kept / kept_then
    spread = 1 - kept.square()
    of_state, of_clean = step * (1 - kept_then.square()) / spread, kept_then * (1 - step.square()) / spread
    return of_state * (state - degraded) + of_clean * (clean - degraded) + degraded


def best_deviation(time: int, then: int, schedule: MeanRevertingSchedule) -> float:
    """The deviation of the state at an earlier time, given x_0 and the state at `time`; 0 for the clean image."""
    kept, kept_then = float(schedule.kept[time]), float(schedule.kept[then])
    variance = (1 - (kept / kept_then) ** 2) * (1 - kept_then**2) / (1 - kept**2)
    return schedule.deviation * max(variance, 0.0) ** 0.5


def spread_times(timesteps: int, steps: int) -> list[int]:
    """`steps` times from T down, evenly spread, and 0.

    Raises:
        ValueError: more steps than times.
    """
    if not 1 <= steps <= timesteps:
        raise ValueError(f"steps: expected 1 to {timesteps}, got {steps}")
    return [round(index * timesteps / steps) for index in range(steps, -1, -1)]


def sample(
    estimate: Estimate,
    degraded: Tensor,
    start: Tensor,
    schedule: MeanRevertingSchedule,
    times: Sequence[int],
    sampler: Sampler = "posterior",
    eta: float = 1.0,
    draw: Draw | None = None,
) -> Tensor:
    """From the degraded image with noise to the restored one.

    Args:
        estimate: gives the noise in a state at its time.
        degraded: μ.
        start: the state at the first time: μ + λ · noise.
        schedule: of all times.
        times: falling, the last is 0; see `spread_times`.
        sampler: `posterior` steps by the best mean for the estimated clean image, `sde` and `ode` by Euler's rule.
        eta: factor of the new noise of `posterior` and `sde`; 1 as published, 0 for none.
        draw: noise for each time that is left, needed if `eta` is not 0.

    Raises:
        ValueError: there is no such sampler.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler: expected one of {', '.join(SAMPLERS)}, got {sampler!r}")
    state = start
    for now, then in pairwise(times):
        at_now, at_then = (torch.full((len(state),), time, device=state.device) for time in (now, then))
        noise = estimate(state, now)
        if sampler == "posterior":
            clean = clean_of(state, degraded, noise, at_now, schedule)
            state = best_mean(state, degraded, clean, at_now, at_then, schedule)
            deviation = best_deviation(now, then, schedule)
        else:
            state = backward_mean(state, degraded, noise, at_now, at_then, schedule, sampler)
            rate = float(schedule.integral[now] - schedule.integral[then]) * schedule.dt
            deviation = schedule.deviation * (2 * rate) ** 0.5 if sampler == "sde" else 0.0
        if draw is not None and eta * deviation:
            state = state - eta * deviation * draw(now) if sampler == "sde" else state + eta * deviation * draw(now)
    return state
