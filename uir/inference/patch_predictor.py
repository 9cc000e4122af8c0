"""Restoring with WeatherDiff: diffusion of the whole image, with noise that is estimated on overlapping patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from uir.diffusion.gaussian import ddim, even_times
from uir.diffusion.patches import averaged
from uir.inference.controls import Control
from uir.inference.predictor import Place, Whole
from uir.inference.sampling_predictor import SEED, SamplingPredictor, eta_control, sampler_control, steps_control
from uir.layers.padding import crop, pad_to_size
from uir.registry import PREDICTORS


@PREDICTORS.register()
class PatchPredictor(SamplingPredictor):
    """Takes DDIM steps on the whole image; in each, the estimates of overlapping patches are averaged in every pixel.

    The patches are those of the whole image, so that tiles do not change the result by a bit.
    """

    controls: ClassVar[tuple[Control, ...]] = (
        steps_control(25),
        sampler_control(("ddim", "ddpm")),
        eta_control(0.0),
        Control(
            "stride", "int", "Pixels from patch to patch, up to their side; fewer are smoother and slower.", 16, low=1
        ),
        SEED,
    )

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """The restored images [B, 3, H, W]."""
        made, network = super().conditions(whole), self.network
        side, timesteps = int(network.resolution), int(network.schedule.timesteps)  # type: ignore[arg-type, union-attr]
        lq = whole.read(slice(0, whole.size[0]), slice(0, whole.size[1])).to(whole.device, torch.float32)
        height, width = (max(length, side) for length in whole.size)
        degraded = pad_to_size(lq, height, width)

        def estimate(state: Tensor, time: int) -> Tensor:
            def of_patches(part: Tensor, given: Tensor) -> Tensor:
                noise: Tensor = network(given, part, torch.full((len(part),), time, device=part.device))
                return noise.float()

            return averaged(of_patches, state, degraded, side, min(made["stride"], side))

        def draw(step: int) -> Tensor:
            return made["field"].part(0, 0, height, width, step).to(whole.device)

        eta = 1.0 if made["sampler"] == "ddpm" else made["eta"]
        times = even_times(timesteps, min(made["steps"], timesteps))
        kept: Tensor = network.schedule.kept  # type: ignore[union-attr, assignment]
        state = ddim(estimate, draw(0), kept, times, eta, lambda time: draw(time + 1))
        return {"restored": crop((state + 1) / 2, *whole.size)}

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        """The part of the restored images."""
        restored: Tensor = conditions["restored"]
        return place.of(restored).clamp(0, 1)
