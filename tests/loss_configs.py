"""A small configuration of every registered loss, for the tests that run over all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LossConfig:
    """How to build and judge one loss.

    Attributes:
        arguments: of the constructor.
        at_equality: its value where the prediction is the target; None where it has no target.
        weight_argument: the constructor's factor on the result.
        vgg_layers: it needs a file of VGG weights, which holds these layers of vgg11.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    at_equality: float | None = 0.0
    weight_argument: str = "loss_weight"
    vgg_layers: tuple[str, ...] = ()


LOSSES: dict[str, LossConfig] = {
    "CharbonnierLoss": LossConfig({"eps": 1e-6}, at_equality=1e-3),
    "FFTLoss": LossConfig(),
    "L1Loss": LossConfig(),
    "MSELoss": LossConfig(),
    "PSNRLoss": LossConfig(at_equality=-80.0),
    "PerceptualLoss": LossConfig(
        {"layer_weights": {"conv1_1": 0.5, "pool1": 1.0}, "vgg_type": "vgg11"},
        weight_argument="perceptual_weight",
        vgg_layers=("conv1_1",),
    ),
    "WeightedTVLoss": LossConfig(at_equality=None),
}
