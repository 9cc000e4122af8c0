"""Restoring with IR-SDE and Refusion: many steps back along a mean-reverting diffusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.diffusion.mean_reverting import SAMPLERS, sample, spread_times
from uir.inference.controls import Control
from uir.inference.predictor import Place
from uir.inference.sampling_predictor import SEED, SamplingPredictor, eta_control, sampler_control, steps_control
from uir.registry import PREDICTORS


@PREDICTORS.register()
class MeanRevertingPredictor(SamplingPredictor):
    """Starts from the degraded image with noise, and removes the noise that `network_g` estimates."""

    controls: ClassVar[tuple[Control, ...]] = (
        steps_control(100),
        sampler_control(SAMPLERS),
        eta_control(1.0),
        SEED,
    )

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        """All steps for a part."""
        return self.sampled(lq, conditions, place)

    def sampled(self, degraded: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        """All steps from a degraded image, or its latents."""
        network: Any = self.network
        schedule = network.schedule
        start, draw = self.noise(conditions, place, degraded)

        def estimate(state: Tensor, time: int) -> Tensor:
            times = torch.full((len(state),), float(time), device=state.device)
            return self.estimated(degraded, state, times, conditions).float()

        times = spread_times(schedule.timesteps, min(conditions["steps"], schedule.timesteps))
        return sample(
            estimate, degraded, degraded + schedule.deviation * start, schedule, times, conditions["sampler"],
            conditions["eta"], draw,
        )  # fmt: skip

    def estimated(self, degraded: Tensor, state: Tensor, times: Tensor, conditions: Mapping[str, Any]) -> Tensor:
        """The noise in a state at its time [B]."""
        noise: Tensor = self.network(degraded, state, times)
        return noise


@PREDICTORS.register()
class LatentMeanRevertingPredictor(MeanRevertingPredictor):
    """Restores the latents that `network_l` makes, and decodes them with the degraded image's hidden features."""

    roles: ClassVar[tuple[str, ...]] = ("g", "l")

    @property
    def latents(self) -> nn.Module:
        """The network that encodes and decodes."""
        return self.networks["l"]

    @property
    def channels(self) -> int:  # type: ignore[override]
        """Channels of the latents."""
        return int(self.latents.latent_channels)  # type: ignore[arg-type]

    @property
    def stride(self) -> int:  # type: ignore[override]
        """Pixels of the image for each pixel of the latents."""
        return int(self.latents.latent_stride)  # type: ignore[arg-type]

    @property
    def multiple(self) -> int:
        """Height and width of an image are multiples of this number."""
        return self.grid

    @property
    def grid(self) -> int:
        """Tiles start at multiples of this number."""
        return int(self.latents.pad_multiple)  # type: ignore[arg-type]

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        """Encode a part, restore its latents, and decode them."""
        latents: Any = self.latents
        degraded, hidden = latents.encode(lq)
        clean = self.sampled(degraded.float(), conditions, place)
        restored: Tensor = latents.decode(clean, hidden, (lq.shape[-2], lq.shape[-1]))
        return restored
