"""Restoring by experts: a predictor describes the degradation in numbers, which a user may turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.degradations.dasr_liang_vectoriser import KNOBS, STRENGTH, turned
from uir.inference.code_predictor import expanded, global_code
from uir.inference.controls import Control
from uir.inference.predictor import Place, Predictor, Whole
from uir.layers.degradation_code import DegradationCode
from uir.registry import PREDICTORS

_CONTROLS = (
    *(
        Control(name, "float", f"Restore as if the image had {knob.help}.", low=knob.ends[0], high=knob.ends[1])
        for name, knob in KNOBS.items()
    ),
    Control(STRENGTH, "float", "0 restores an image as clean, 1 as the worst of the training.", low=0, high=1),
)


@PREDICTORS.register()
class ExpertPredictor(Predictor):
    """Restores by `network_g(lq, experts=network_p.route(code))`, with one code for a whole image (DASR-Liang).

    `network_p` estimates the numbers of the degradation. A control replaces some of them, in the units of the record;
    the weights of the experts follow. Numbers that no control sets are as estimated.

    Args:
        networks: `g` and `p`.
        scale, labels: as in every predictor.
        legacy: whether the numbers were learned as published, each level of degradation with its own ranges. A control
            then uses the ranges of the severe level.
    """

    roles: ClassVar[tuple[str, ...]] = ("g", "p")
    supplies: ClassVar[tuple[str, ...]] = ("experts", "code")
    controls: ClassVar[tuple[Control, ...]] = (
        *_CONTROLS,
        Control("code_from", "image", "Restore by the numbers of this image."),
    )

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        scale: int = 1,
        labels: tuple[str, ...] = (),
        legacy: bool = False,
    ) -> None:
        super().__init__(networks, scale, labels)
        self.legacy = legacy

    @property
    def encoder(self) -> nn.Module:
        """The network that describes the degradation."""
        return self.networks["p"]

    def settings(self) -> dict[str, Any]:
        """Whether the numbers are as published."""
        return {"legacy": self.legacy}

    def predict(self, image: Tensor) -> DegradationCode:
        """The numbers [B, P] for images [B, 3, h, w] in [0, 1], as `params` of a code."""
        code: DegradationCode = self.networks["p"](image)
        return code

    def route(self, code: DegradationCode) -> Tensor:
        """The weights of the experts [B, K] for a code, which a user may have changed."""
        experts: Tensor = self.networks["p"].route(code)  # type: ignore[operator]
        return experts

    def restore(self, image: Tensor, code: DegradationCode) -> Tensor:
        """The images [B, 3, h, w], restored by the code of each, or by one code for all; not clipped."""
        restored: Tensor = self.network(image, **self._conditions(code, len(image)))
        return restored

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """The code of the whole images, with the numbers that a user set, and the experts' weights for it."""
        if whole.controls.get("code_from") is not None:
            image = whole.value("code_from")
            code = self._global(lambda rows, columns: image[..., rows, columns], image.shape[-2:], whole.device)
        elif whole.batch.get("code") is not None:
            code = whole.batch["code"].apply(lambda values: values.to(whole.device))
        else:
            code = self._global(whole.read, whole.size, whole.device)
        knobs = {name: whole.controls[name] for name in (*KNOBS, STRENGTH) if whole.controls.get(name) is not None}
        if knobs:
            params = turned(code.require("params", "ExpertPredictor"), knobs, self.legacy)
            code = replace(code, params=params, vector=params)
        return self._conditions(code, len(whole)) | {"used": expanded(code, len(whole))}

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        """Restore a part with the experts' weights of the whole image."""
        restored: Tensor = self.network(lq, **{name: conditions[name] for name in self.supplies if name in conditions})
        return restored

    def extras(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """`code` and `experts`: what the images were restored with."""
        return {"code": conditions["used"], "experts": self.route(conditions["used"])}

    def collapsed(self, conditions: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The plain network for the conditions of one image: its description, and its weights."""
        shares = self.route(conditions["used"])
        plain: tuple[dict[str, Any], dict[str, Tensor]] = self.network.collapsed(shares[0])  # type: ignore[operator]
        return plain

    def described(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """The degradation of one image as plain data: its numbers, and the experts' weights."""
        code = conditions["used"]
        return {"params": code.params[0].tolist(), "experts": self.route(code)[0].tolist()}

    def _global(self, read: Any, size: Any, device: torch.device) -> DegradationCode:
        return global_code(self.networks["p"], read, (size[0], size[1]), device)

    def _conditions(self, code: DegradationCode, images: int) -> dict[str, Any]:
        """What the network takes of a code and the weights for it."""
        values = {"experts": self.route(code).expand(-1, -1), "code": expanded(code, images)}
        return {name: value for name, value in values.items() if name in self.taken}
