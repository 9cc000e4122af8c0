"""DiffIR's diffusion of the prior in a few steps, without noise on the way back (Xia et al., ICCV 2023)."""

from __future__ import annotations

from itertools import accumulate, pairwise
from operator import mul

import torch
from torch import Tensor, nn


def kept_shares(linear_start: float, linear_end: float, timesteps: int) -> list[float]:
    """The share of the clean signal's variance that is left after each step: ᾱ of DDPM.

    The root of a step's noise variance β grows linearly.
    """
    first, last = linear_start**0.5, linear_end**0.5
    roots = [first + (last - first) * step / max(timesteps - 1, 1) for step in range(timesteps)]
    return list(accumulate((1 - root**2 for root in roots), mul))


def posterior_weights(now: float, before: float) -> tuple[float, float]:
    """Weights of the clean signal and of the noisy one in the mean of the step before (DDPM, Eq. 7).

    Args:
        now: ᾱ of the noisy signal.
        before: ᾱ of the step before; 1 for the clean signal.
    """
    left = now / before
    return before**0.5 * (1 - left) / (1 - now), left**0.5 * (1 - before) / (1 - now)


class PriorDiffusion(nn.Module):
    """The way back from noise to the prior of an image [B, 3, H, W].

    Its buffers are those of the published checkpoints; the networks are in these checkpoints twice.

    Args:
        condition: the encoder of the image.
        model: predicts the clean prior; see `PriorDenoiser`.
        linear_start, linear_end, timesteps: as in `kept_shares`.
    """

    def __init__(
        self, condition: nn.Module, model: nn.Module, linear_start: float, linear_end: float, timesteps: int
    ) -> None:
        super().__init__()
        self.kept = kept_shares(linear_start, linear_end, timesteps)
        earlier = [1.0, *self.kept[:-1]]
        weights = torch.tensor([posterior_weights(*pair) for pair in zip(self.kept, earlier, strict=True)])
        kept, before = torch.tensor(self.kept, dtype=torch.float64), torch.tensor(earlier, dtype=torch.float64)
        betas = 1 - kept / before
        variance = betas * (1 - before) / (1 - kept)
        for name, values in {
            "betas": betas,
            "alphas_cumprod": kept,
            "alphas_cumprod_prev": before,
            "sqrt_alphas_cumprod": kept.sqrt(),
            "sqrt_one_minus_alphas_cumprod": (1 - kept).sqrt(),
            "log_one_minus_alphas_cumprod": (1 - kept).log(),
            "sqrt_recip_alphas_cumprod": (1 / kept).sqrt(),
            "sqrt_recipm1_alphas_cumprod": (1 / kept - 1).sqrt(),
            "posterior_variance": variance,
            "posterior_log_variance_clipped": variance.clamp_min(1e-20).log(),
            "posterior_mean_coef1": weights[:, 0],
            "posterior_mean_coef2": weights[:, 1],
        }.items():
            self.register_buffer(name, values.float())
        self.model, self.condition = model, condition

    def noisy(self, prior: Tensor, noise: Tensor) -> Tensor:
        """A clean prior after all steps of noise."""
        return self.kept[-1] ** 0.5 * prior + (1 - self.kept[-1]) ** 0.5 * noise

    def check_steps(self, steps: int) -> None:
        """Check a number of steps.

        Raises:
            ValueError: there are not so many.
        """
        count = len(self.kept)
        if not 1 <= steps <= count:
            raise ValueError(f"steps: expected 1 to {count}, the steps that the network was trained with, got {steps}")

    def denoised(self, condition: Tensor, noise: Tensor, steps: int | None = None) -> Tensor:
        """The prior [B, C] for the encoded image, from noise; every step takes the mean.

        Args:
            condition: [B, C].
            noise: [B, C], normal, or `noisy` of a clean prior.
            steps: how many of the times are visited, evenly spread with the last one; default all.

        Raises:
            ValueError: there are not so many.
        """
        count = len(self.kept)
        steps = count if steps is None else steps
        self.check_steps(steps)
        times = [count * (steps - index) // steps - 1 for index in range(steps)]
        for time, next_time in pairwise([*times, -1]):
            clean = self.model(noise, time, condition)
            before = self.kept[next_time] if next_time >= 0 else 1.0
            of_clean, of_noisy = posterior_weights(self.kept[time], before)
            noise = of_clean * clean + of_noisy * noise
        return noise
