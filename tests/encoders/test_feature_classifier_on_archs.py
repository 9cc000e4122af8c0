"""The light classifier on every registered backbone that declares feature points."""

from __future__ import annotations

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from torch import nn

from uir.encoders.feature_classifier_encoder import FeatureClassifier
from uir.layers.degradation_code import DegradationCode
from uir.layers.features import FeatureTap
from uir.registry import ARCH_REGISTRY
from uir.registry.components import build

PLAIN = {"Bicubic", "Identity"}  # without features: nothing to classify by
ARCHS = [
    name
    for name, cls in ARCH_REGISTRY
    if cls.__module__.startswith("uir.") and hasattr(cls, "feature_points") and name not in PLAIN
]
BUDGET = 3000


def build_small(name: str) -> nn.Module:
    network = build("archs", {"type": f"uir:{name}", **ARCH_CONFIGS[name]})
    with torch.no_grad():
        for parameter in network.parameters():  # no branch starts switched off
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return network


def code_for(network: nn.Module, batch: int) -> list[DegradationCode]:
    """The argument of a backbone that is steered by a degradation code; none for others."""
    if not hasattr(network, "code_channels") and not hasattr(network, "map_channels"):
        return []
    vector = torch.rand(batch, getattr(network, "code_channels", 1))
    return [DegradationCode(vector=vector, map=torch.rand(batch, getattr(network, "map_channels", 1), 21, 30))]


@pytest.mark.parametrize("name", ARCHS)
def test_classifies_by_the_features_of_every_backbone(name: str) -> None:
    network = build_small(name)
    tap = FeatureTap(network)
    head = FeatureClassifier(tap.points, 5, BUDGET)
    assert [len(summary.body[0].weight) for summary in head.layers.summaries] == [p.channels for p in tap.points]
    assert sum(parameter.numel() for parameter in head.parameters()) <= BUDGET

    lq = torch.rand(2, 3, 21, 30)
    logits = head(lq, tap(lq, *code_for(network, 2))[1])
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert [key for key, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []
    first = next(parameter for parameter in network.parameters() if parameter.requires_grad)
    assert first.grad is not None, "gradients reach the backbone"
    assert first.grad.any()
