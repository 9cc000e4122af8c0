"""Training of WeatherDiff (Özdenizci and Legenstein, TPAMI 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from uir.config.schema import TrainOptions
from uir.diffusion.gaussian import at, clean_of, noised
from uir.inference.patch_predictor import PatchPredictor
from uir.inference.predictor import Predictor
from uir.models.diffusion_model import DiffusionModel, Learned
from uir.registry import MODEL_REGISTRY


class WeatherDiffOptions(TrainOptions):
    """Keys of `train` for diffusion on patches."""

    patches: int = Field(
        1, ge=1, description="How many patches of the network's resolution a step cuts out of every image, at random."
    )


@MODEL_REGISTRY.register()
class WeatherDiffModel(DiffusionModel):
    """Trains a network to estimate the noise in patches, led by the patches of the degraded image.

    Published is the sum of squared errors in a patch: `diffusion_opt: {type: MSELoss, loss_weight: 12288}` for patches
    of 64. Every second image of a step gets the time opposite to that of the first (antithetic times).
    """

    train_options: ClassVar[type[TrainOptions]] = WeatherDiffOptions
    predictor_type: ClassVar[type[Predictor]] = PatchPredictor
    process: ClassVar[str] = "GaussianSchedule"
    networks: ClassVar[str] = "WeatherDiff"

    train_opt: WeatherDiffOptions

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch, and cut patches out of its images."""
        super().feed_data(data)
        if self.is_train and self.gt is not None:
            self.lq, self.gt = self._patches(self.lq, self.gt)

    def _patches(self, lq: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
        """Patches of both images at the same random places [B · patches, 3, side, side]."""
        network: Any = self.bare["g"]
        heights, widths = (min(network.resolution, length) for length in lq.shape[-2:])
        cuts = []
        for index in range(len(lq)):
            for _ in range(self.train_opt.patches):
                top, left = (
                    int(torch.randint(length - side + 1, ()))
                    for length, side in zip(lq.shape[-2:], (heights, widths), strict=True)
                )
                cuts.append((index, slice(top, top + heights), slice(left, left + widths)))
        first, second = (torch.stack([image[i, :, r, c] for i, r, c in cuts]) for image in (lq, gt))
        return first, second

    def make_state(self) -> Learned:
        """States of random times; the target is their noise."""
        clean, schedule = 2 * self.clean_images() - 1, self.schedule
        times = self.random_times(0, schedule.timesteps - 1)
        half = len(times) // 2
        times[half : 2 * half] = schedule.timesteps - 1 - times[:half]
        noise = torch.randn_like(clean)
        return Learned(times, self.lq, noised(clean, noise, at(schedule.kept, times, clean)), noise)

    def clean_estimate(self, learned: Learned, output: Tensor) -> Tensor:
        """The clean images that follow from the noise."""
        return (clean_of(learned.state, output, at(self.schedule.kept, learned.times, output)) + 1) / 2
