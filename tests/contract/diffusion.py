"""An example of a user's plug-in: a diffusion restorer, conditioned on the degraded image.

It learns to predict the noise that was added to the clean image, and restores with a few deterministic (DDIM) steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.inference.controls import SEED, Control
from uir.inference.predictor import Place, Predictor, Whole
from uir.models.base_model import BaseModel, offers
from uir.registry import ARCH_REGISTRY, MODEL_REGISTRY, PREDICTORS


def kept_signal(timestep: Tensor) -> Tensor:
    """The part of the clean image that is left at a time in [0, 1]: the cosine schedule, [B, 1, 1, 1]."""
    return torch.cos(timestep * 1.5).square()[:, None, None, None]


@ARCH_REGISTRY.register()
class SmallDenoiser(nn.Module):
    """Predicts the noise in a noisy image [B, 3, H, W] from this image, the degraded one and the time [B] in [0, 1]."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.time = nn.Linear(1, width)
        self.head = nn.Conv2d(6, width, 3, 1, 1)
        self.tail = nn.Sequential(nn.SiLU(), nn.Conv2d(width, width, 3, 1, 1), nn.SiLU(), nn.Conv2d(width, 3, 3, 1, 1))

    def forward(self, lq: Tensor, noisy: Tensor, timestep: Tensor) -> Tensor:
        features = self.head(torch.cat([lq, noisy], 1)) + self.time(timestep[:, None])[:, :, None, None]
        noise: Tensor = self.tail(features)
        return noise


@PREDICTORS.register()
class SmallSampler(Predictor):
    """Takes DDIM steps from noise that depends on the control `seed` and the image's name."""

    supplies: ClassVar[tuple[str, ...]] = ("noisy", "timestep")
    controls: ClassVar[tuple[Control, ...]] = (
        Control("steps", "int", "Sampling steps; more are slower.", default=3, low=1, high=1000),
        SEED,
    )

    def conditions(self, whole: Whole) -> dict[str, Any]:
        return {"noise": whole.draw(3, *whole.size), "steps": whole.value("steps")}

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        image, steps = place.of(conditions["noise"]), conditions["steps"]
        times = torch.linspace(1, 0, steps + 1, device=lq.device)
        for now, then in pairwise(times):
            left, next_left = kept_signal(now.expand(len(lq))), kept_signal(then.expand(len(lq)))
            noise = self.network(lq, image, now.expand(len(lq)))
            clean = (image - (1 - left).sqrt() * noise) / left.sqrt().clamp_min(0.05)
            image = next_left.sqrt() * clean.clamp(0, 1) + (1 - next_left).sqrt() * noise
        return image


@MODEL_REGISTRY.register()
class SmallDiffusionModel(BaseModel):
    """Learns to predict noise; the option file names the loss `noise_opt`, and this method chooses its inputs."""

    loss_slots: ClassVar[tuple[str, ...]] = ("noise_opt",)
    predictor_type: ClassVar[type[Predictor]] = SmallSampler

    @offers("noise")
    def _noise(self) -> Tensor:
        return torch.randn_like(self.clean_images())

    @offers("predicted_noise", runs=("g",))
    def _predicted_noise(self) -> Tensor:
        clean, noise = self.clean_images(), self.value("noise")
        timestep = torch.rand(len(clean), device=clean.device)
        left = kept_signal(timestep)
        predicted: Tensor = self.net_g(self.lq, left.sqrt() * clean + (1 - left).sqrt() * noise, timestep)
        return predicted

    def compute_losses(self) -> dict[str, Tensor]:
        return {"l_noise": self.losses["noise_opt"](self.value("predicted_noise"), self.value("noise"))}
