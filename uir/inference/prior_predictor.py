"""Restoring with DiffIR: a prior of the whole image, then all of its parts by this prior."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from uir.inference.code_predictor import global_code
from uir.inference.controls import SEED, Control
from uir.inference.predictor import Place, Predictor, Whole
from uir.inference.tiling import Read
from uir.layers.degradation_code import DegradationCode
from uir.registry import PREDICTORS

logger = logging.getLogger("uir")


class _ByPrior(Predictor):
    """Restores with `network_g(lq, prior=prior)`; the prior is that of the whole image."""

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        """Restore a part by the prior of the whole image."""
        restored: Tensor = self.network(lq, prior=conditions["prior"])
        return restored


@PREDICTORS.register()
class PriorPredictor(_ByPrior):
    """Restores with the second stage: a diffusion finds the prior, from noise that depends on seed and image alone.

    A large image is encoded in evenly spread squares, whose codes are averaged.
    """

    supplies: ClassVar[tuple[str, ...]] = ("noise", "prior")
    controls: ClassVar[tuple[Control, ...]] = (
        Control("steps", "int", "Steps of the diffusion; by default those of the training, which are the most.", low=1),
        SEED,
    )

    def check_values(self, values: Mapping[str, Any]) -> None:
        """Check that there are not more steps than in training."""
        network: Any = self.network
        if "steps" in values:
            network.diffusion.check_steps(values["steps"])

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """The prior of each whole image."""
        network: Any = self.network

        def encoded(image: Tensor) -> DegradationCode:
            return DegradationCode(vector=network.condition(image))

        code = global_code(encoded, whole.read, whole.size, whole.device)
        noise = whole.draw(network.prior_channels, purpose="prior")
        condition = code.require("vector", "PriorPredictor")
        return {"prior": network.diffusion.denoised(condition, noise, whole.controls.get("steps"))}


@PREDICTORS.register()
class CleanPriorPredictor(_ByPrior):
    """Restores with the first stage, whose prior needs the clean image: that of the control or of the dataset.

    Without one the degraded image stands for it, and a warning says so.
    """

    supplies: ClassVar[tuple[str, ...]] = ("gt", "prior")
    controls: ClassVar[tuple[Control, ...]] = (
        Control(
            "reference", "image",
            "The clean image, of the same size; by default that of the dataset, else the degraded image itself.",
        ),
    )  # fmt: skip

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """The prior of each whole image and its clean one.

        Raises:
            ValueError: the clean image has another size.
        """
        network: Any = self.network
        clean: Tensor | None = whole.controls.get("reference", whole.batch.get("gt"))
        if clean is None:
            logger.warning(
                "the first stage of DiffIR needs the clean image, which is not there: the degraded one stands for it; "
                "train the second stage, or --set reference=FILE"
            )
        elif tuple(clean.shape[-2:]) != whole.size:
            raise ValueError(
                f"reference: expected the size of the image, {whole.size[0]}x{whole.size[1]}, got "
                f"{clean.shape[-2]}x{clean.shape[-1]}"
            )
        read = whole.read

        def both(rows: slice, columns: slice) -> Tensor:
            degraded = read(rows, columns)
            other = degraded if clean is None else clean[..., rows, columns].to(degraded)
            return torch.cat([degraded, other.expand_as(degraded)], 1)

        def encoded(images: Tensor) -> DegradationCode:
            return DegradationCode(vector=network.prior_of(*images.chunk(2, dim=1)))

        pairs: Read = both
        return {"prior": global_code(encoded, pairs, whole.size, whole.device).require("vector", "CleanPriorPredictor")}
