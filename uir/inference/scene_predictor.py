"""Restoring by a scene descriptor: of a scene that the user names, or that the embedder recognises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from uir.inference.code_predictor import global_code
from uir.inference.controls import Control
from uir.inference.predictor import Predictor, Whole
from uir.registry import PREDICTORS


@PREDICTORS.register()
class ScenePredictor(Predictor):
    """Restores with `network_g(lq, code)`; the code is the descriptor that `network_e` has for the scene's name."""

    roles: ClassVar[tuple[str, ...]] = ("g", "e")
    supplies: ClassVar[tuple[str, ...]] = ("code",)
    controls: ClassVar[tuple[Control, ...]] = (
        Control("scene", "text", "The degradations of the image, such as haze_rain; by default they are recognised."),
    )

    def check_values(self, values: Mapping[str, Any]) -> None:
        """Check that the embedder has a descriptor of the scene."""
        embedder: Any = self.networks["e"]
        if "scene" in values:
            embedder.index_of(values["scene"])

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """The descriptor of each whole image, and the index of its scene."""
        embedder: Any = self.networks["e"]
        name = whole.controls.get("scene")
        if name is not None:
            scenes = torch.full((len(whole),), embedder.index_of(name), device=whole.device)
        else:
            logits = global_code(embedder, whole.read, whole.size, whole.device).require("logits", "ScenePredictor")
            scenes = logits.argmax(1)
        return {"code": embedder.describe(scenes), "scenes": scenes}

    def run(self, lq: torch.Tensor, conditions: Mapping[str, Any], place: Any) -> torch.Tensor:
        """Restore a part with the descriptor of the whole image."""
        restored: torch.Tensor = self.network(lq, code=conditions["code"])
        return restored

    def extras(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """`scene`: the names of the scenes that the images were restored as."""
        names: Any = self.networks["e"]
        return {"scene": [names.scenes[int(index)] for index in conditions["scenes"]]}
