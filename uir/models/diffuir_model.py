"""Training of DiffUIR (Zheng et al., CVPR 2024)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from uir.diffusion.residual import diffused
from uir.inference.predictor import Predictor
from uir.inference.residual_predictor import ResidualPredictor
from uir.models.diffusion_model import DiffusionModel, Learned
from uir.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class DiffUIRModel(DiffusionModel):
    """Trains a network to estimate the residual of degraded images in states of a residual diffusion.

    `diffusion_opt: {type: L1Loss}` is published: the residual of images in [-1, 1] at evenly drawn times.
    """

    predictor_type: ClassVar[type[Predictor]] = ResidualPredictor
    process: ClassVar[str] = "ResidualSchedule"
    networks: ClassVar[str] = "DiffUIR"

    def make_state(self) -> Learned:
        """States of random times; the target is the residual."""
        clean, degraded = 2 * self.clean_images() - 1, 2 * self.lq - 1
        times = self.random_times(0, self.schedule.timesteps - 1)
        state = diffused(clean, degraded - clean, degraded, torch.randn_like(clean), times, self.schedule)
        return Learned(times, self.lq, state, degraded - clean)

    def network_time(self, times: Tensor) -> Tensor:
        """T · ᾱ_t."""
        time: Tensor = self.schedule.network_time(times).to(self.device)
        return time

    def clean_estimate(self, learned: Learned, output: Tensor) -> Tensor:
        """The degraded images without the residual."""
        return self.lq - output / 2
