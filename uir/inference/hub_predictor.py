"""Restoring with IDR: blind, or with the hub of a degradation that the user names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from uir.inference.controls import Control
from uir.inference.predictor import Predictor, Whole
from uir.registry import PREDICTORS


@PREDICTORS.register()
class HubPredictor(Predictor):
    """Restores with `network_g(lq)`; the control `hub` names the degradation, as in the first stage of training."""

    supplies: ClassVar[tuple[str, ...]] = ("degradation",)
    controls: ClassVar[tuple[Control, ...]] = (
        Control("hub", "text", "The degradation of the image, such as rain; by default it is recognised."),
    )

    def check_values(self, values: Mapping[str, Any]) -> None:
        """Check that there is a hub of this name."""
        hubs: Any = self.network.hubs
        if "hub" in values and values["hub"] not in hubs:
            raise ValueError(f"hub: expected one of {', '.join(hubs)}, got {values['hub']!r}")

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """The index of the hub for each image, if one is named."""
        name = whole.controls.get("hub")
        if name is None:
            return {}
        hubs: Any = self.network.hubs
        return {"degradation": torch.full((len(whole),), hubs.index(name), device=whole.device)}
