"""Restoring with a strength from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from uir.inference.controls import Control
from uir.inference.predictor import Predictor, Whole
from uir.registry import PREDICTORS


@PREDICTORS.register()
class StrengthPredictor(Predictor):
    """Restores by `network_g(lq, strength)`; the control `strength` is 1 if neither the user nor the batch sets it."""

    supplies: ClassVar[tuple[str, ...]] = ("strength",)
    controls: ClassVar[tuple[Control, ...]] = (
        Control("strength", "float", "How strongly to restore: 0 as a clean image, 1 as the worst.", 1.0, 0, 1),
    )

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """One strength for each image."""
        strength = torch.as_tensor(whole.value("strength"), dtype=torch.float32, device=whole.device)
        return {"strength": strength.reshape(-1).expand(len(whole)) if strength.numel() == 1 else strength}

    def collapsed(self, conditions: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The plain network for the strength of one image: its description, and its weights."""
        plain: tuple[dict[str, Any], dict[str, Tensor]] = self.network.collapsed(  # type: ignore[operator]
            conditions["strength"][0]
        )
        return plain

    def described(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """The strength as plain data."""
        return {"strength": float(conditions["strength"][0])}
