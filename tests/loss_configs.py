"""A small configuration of every registered loss, and a value for everything that a loss may be called with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from uir.layers.degradation_code import DegradationCode
from uir.models.blind_sr_model import BlindSRModel
from uir.models.moce_ir_model import MoCEIRModel
from uir.models.values import offers_of
from uir.registry import LOSS_REGISTRY


@dataclass(frozen=True)
class LossConfig:
    """How to build and judge one loss.

    Attributes:
        arguments: of the constructor.
        at_equality: its value where the prediction is the target; None where that says nothing.
        weight_argument: the constructor's factor on the result.
        vgg_layers: it needs a file of VGG weights, which holds these layers of vgg11.
        inputs: what it is called with, where its class does not declare that.
        zoom: factor on the sides of its images, for a loss that needs larger ones.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    at_equality: float | None = None
    weight_argument: str = "loss_weight"
    vgg_layers: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ("restored", "gt")
    zoom: int = 1


RANDOM_VGG = {"vgg_type": "vgg11", "weights": "random"}

LOSSES: dict[str, LossConfig] = {
    "BidirectionalContrastiveLoss": LossConfig(),
    "CharbonnierLoss": LossConfig({"eps": 1e-6}, at_equality=1e-3),
    "CodebookLoss": LossConfig(),
    "CompositeContrastiveLoss": LossConfig({"vgg_type": None}),
    "ConditionalContrastiveLoss": LossConfig(),
    "ContextualLoss": LossConfig({"layer_weights": {"conv1_1": 1.0}, **RANDOM_VGG}),
    "CrossEntropyLoss": LossConfig(inputs=("logits", "class_index")),
    "FDLLoss": LossConfig({"layers": ["conv1_1"], "num_proj": 8, "phase_weight": 0.01, **RANDOM_VGG}, at_equality=0.0),
    "FFTLoss": LossConfig(at_equality=0.0),
    "FeatureMatchingLoss": LossConfig(),
    "FocalLoss": LossConfig(inputs=("logits", "class_index")),
    "GANLoss": LossConfig({"gan_type": "vanilla"}),
    "GradientPenaltyLoss": LossConfig(),
    "HubLoss": LossConfig(),
    "InfoNCELoss": LossConfig(),
    "L1Loss": LossConfig(at_equality=0.0),
    "LPIPSLoss": LossConfig({"weights": "random"}, zoom=2),
    "MSELoss": LossConfig(at_equality=0.0),
    "MSSSIMLoss": LossConfig({"scales": 1}, at_equality=0.0),
    "MarginRankingLoss": LossConfig(),
    "MultiLabelBCELoss": LossConfig(inputs=("logits", "multi_hot")),
    "PSNRLoss": LossConfig(at_equality=-80.0),
    "LogL1Loss": LossConfig(),
    "SplitL1Loss": LossConfig(),
    "PerceptualLoss": LossConfig(
        {"layer_weights": {"conv1_1": 0.5, "pool1": 1.0}, "vgg_type": "vgg11"},
        at_equality=0.0,
        weight_argument="perceptual_weight",
        vgg_layers=("conv1_1",),
    ),
    "R1Loss": LossConfig(),
    "SobelEdgeLoss": LossConfig(at_equality=0.0),
    "RouterBalanceLoss": LossConfig(),
    "SceneLoss": LossConfig(),
    "SideOutputLoss": LossConfig(),
    "SmoothL1Loss": LossConfig({"beta": 0.1}, at_equality=0.0),
    "SupConLoss": LossConfig(),
    "WeightedTVLoss": LossConfig(),
}

B, D, K = 4, 5, 3  # images, width of a projection, classes


def noise(*shape: int) -> Callable[[torch.Generator], Tensor]:
    """Makes normal numbers."""
    return lambda generator: torch.randn(*shape, generator=generator)


def image(generator: torch.Generator) -> Tensor:
    """Makes small images in [0, 1]."""
    return torch.rand(2, 3, 12, 13, generator=generator)


def code(generator: torch.Generator) -> DegradationCode:
    """Makes the fields that losses on codes read."""
    return DegradationCode(
        projection=noise(B, D)(generator),
        score=noise(B)(generator),
        local=noise(B, D, 2, 3)(generator),
        detail=noise(B, D, 4, 6)(generator),
    )


def inner_features(generator: torch.Generator) -> list[Tensor]:
    """Makes two feature maps of a discriminator."""
    return [noise(2, 4, 5, 6)(generator), noise(2, 6, 3, 3)(generator)]


# What the losses that declare their inputs are called with, by the names in the training methods' table.
DECLARED: dict[str, Callable[[torch.Generator], Any]] = {
    "restored": image,
    "gt": image,
    **dict.fromkeys(["code", "small_gt_code", "gt_detail", "key", "restored_detail"], code),
    "renditions": lambda generator: [code(generator) for _ in range(5)],
    "orders": lambda generator: torch.randint(-1, 2, (B, 5), generator=generator),
    "labels": lambda _: torch.tensor([0, 1, 0, -1]),
    "codebook": noise(7, D),
    "lq": image,
    "negatives": lambda generator: torch.rand(2, 3, 3, 12, 13, generator=generator),
    "scene_logits": noise(B, K),
    "hub_logits": noise(B, 2, K),
    "hub_index": lambda _: torch.tensor([2, 0, 1, 0]),
    "side_outputs": lambda generator: [torch.rand(2, 3, *size, generator=generator) for size in ((12, 13), (6, 7))],
    "scene_index": lambda _: torch.tensor([2, 0, 1, 0]),
    "router_balance": lambda generator: torch.rand(5, generator=generator),
    "queue": lambda generator: F.normalize(noise(6, D)(generator), dim=1),
}
# What classifiers are compared by; their losses declare no inputs.
OF_CLASSIFIERS: dict[str, Callable[[torch.Generator], Any]] = {
    "logits": noise(B, K),
    "class_index": lambda _: torch.tensor([2, 0, 1, 0]),
    "multi_hot": lambda generator: torch.randint(0, 2, (B, K), generator=generator).float(),
}
# What discriminators give.
OF_DISCRIMINATORS: dict[str, Callable[[torch.Generator], Any]] = {
    "fake_logits": noise(2, 1, 5, 6),
    **dict.fromkeys(["fake_features", "real_features"], inner_features),
}


def input_names(name: str) -> tuple[str, ...]:
    """What a loss is called with, in order."""
    declared: tuple[str, ...] = getattr(LOSS_REGISTRY.get(name), "inputs", LOSSES[name].inputs)
    return declared


def made_values(name: str, seed: int = 1) -> list[Any]:
    """A value for each input of a loss.

    Raises:
        ValueError: nothing is known of an input.
    """
    generator, makers = torch.Generator().manual_seed(seed), DECLARED | OF_CLASSIFIERS | OF_DISCRIMINATORS
    unknown = [entry for entry in input_names(name) if entry not in makers]
    if unknown:
        known = (
            ""
            if unknown[0] in offers_of(BlindSRModel) | offers_of(MoCEIRModel)
            else "; no training method offers it either"
        )
        raise ValueError(f"{name} is called with '{unknown[0]}'; say in tests/loss_configs.py how it is made{known}")
    values = [makers[entry](generator) for entry in input_names(name)]
    zoom = LOSSES[name].zoom
    return [F.interpolate(value, scale_factor=zoom, mode="bicubic") for value in values] if zoom > 1 else values
