"""Restoring with networks whose routers draw noise in the authors' evaluation."""

from __future__ import annotations

from typing import Any, ClassVar

from uir.inference.controls import Control
from uir.inference.predictor import Predictor, Whole
from uir.registry import PREDICTORS


@PREDICTORS.register()
class RouterPredictor(Predictor):
    """Restores with `network_g` and, if asked, noise in its routers: the same for all tiles of an image."""

    supplies: ClassVar[tuple[str, ...]] = ("noise",)
    controls: ClassVar[tuple[Control, ...]] = (
        Control(
            "router_noise", "choice", "Noise in the choice of experts, as MoCE-IR's authors draw it in their tests.",
            default="off", choices=("off", "on"),
        ),
        Control("seed", "int", "Where the noise starts.", default=0, low=0),
    )  # fmt: skip

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """The noise [B, routers, experts], or None."""
        if "noise" not in self.taken or whole.value("router_noise") == "off":
            return {}
        network: Any = self.network
        return {"noise": whole.draw(network.num_routers, network.experts_per_router, purpose="router_noise")}
