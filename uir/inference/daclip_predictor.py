"""Restoring with DA-CLIP: the steps of IR-SDE, led by the embeddings of the whole image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from uir.inference.code_predictor import global_code
from uir.inference.mean_reverting_predictor import MeanRevertingPredictor
from uir.inference.predictor import Whole
from uir.registry import PREDICTORS


@PREDICTORS.register()
class DACLIPPredictor(MeanRevertingPredictor):
    """As `MeanRevertingPredictor`; the network also gets the code that `network_e` has of the whole image."""

    roles: ClassVar[tuple[str, ...]] = ("g", "e")
    supplies: ClassVar[tuple[str, ...]] = ("code", "noisy", "timestep")

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """The code of each whole image, and what the steps need."""
        code = global_code(self.networks["e"], whole.read, whole.size, whole.device)
        return {**super().conditions(whole), "code": code}

    def estimated(self, degraded: Tensor, state: Tensor, times: Tensor, conditions: Mapping[str, Any]) -> Tensor:
        """The noise in a state, by the code."""
        noise: Tensor = self.network(degraded, code=conditions["code"], noisy=state, timestep=times)
        return noise
