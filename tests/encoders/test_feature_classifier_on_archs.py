"""The light classifier on every registered backbone that declares feature points."""

from __future__ import annotations

import pytest
import torch
from small_networks import build_network, made_code, made_experts, networks_of

from uir.encoders.feature_classifier_encoder import FeatureClassifier
from uir.layers.features import FeatureTap

ARCHS = [name for name in networks_of("backbone") if build_network(name).feature_points()]
BUDGET = 3000


@pytest.mark.thorough
@pytest.mark.parametrize("name", ARCHS)
def test_classifies_by_the_features_of_every_backbone(name: str) -> None:
    network = build_network(name, moved=0.1).train()
    tap = FeatureTap(network)
    head = FeatureClassifier(tap.points, 5, BUDGET)
    assert [len(summary.body[0].weight) for summary in head.layers.summaries] == [p.channels for p in tap.points]
    assert sum(parameter.numel() for parameter in head.parameters()) <= BUDGET

    lq = torch.rand(2, 3, 21, 30)
    steered = hasattr(network, "code_channels") or hasattr(network, "map_channels")
    more = [made_code(network, lq)] if steered else []
    more += [made_experts(network, lq)] if hasattr(network, "num_experts") else []
    logits = head(lq, tap(lq, *more)[1])
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert [key for key, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []
    first = next(parameter for parameter in network.parameters() if parameter.requires_grad and parameter.ndim > 3)
    assert first.grad is not None, "gradients reach the backbone"
    assert first.grad.any()
