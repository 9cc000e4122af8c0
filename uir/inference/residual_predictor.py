"""Restoring with DiffUIR: a few steps of residual diffusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from uir.diffusion.residual import SAMPLERS, START_NOISE, sample, spread_times, start_of
from uir.inference.controls import Control
from uir.inference.predictor import Place
from uir.inference.sampling_predictor import SEED, SamplingPredictor, eta_control, sampler_control, steps_control
from uir.registry import PREDICTORS


@PREDICTORS.register()
class ResidualPredictor(SamplingPredictor):
    """Starts from the degraded image and a little noise, and removes the residual that `network_g` estimates."""

    controls: ClassVar[tuple[Control, ...]] = (
        steps_control(3),
        sampler_control(SAMPLERS),
        eta_control(0.0),
        Control("start_noise", "float", "Deviation of the noise that sampling starts from.", START_NOISE, low=0),
        SEED,
    )

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        """All steps for a part."""
        network: Any = self.network
        schedule, degraded = network.schedule, 2 * lq - 1
        start, draw = self.noise(conditions, place, lq)

        def estimate(state: Tensor, time: int) -> Tensor:
            times = schedule.network_time(torch.full((len(state),), time)).to(state.device)
            residual: Tensor = network(lq, state, times)
            return residual.float()

        times = spread_times(schedule.timesteps, min(conditions["steps"], schedule.timesteps))
        states = sample(
            estimate, degraded, start_of(degraded, start, schedule, conditions["start_noise"]), schedule, times,
            conditions["sampler"], conditions["eta"], draw,
        )  # fmt: skip
        return (states[-1] + 1) / 2
