"""What holds for every registered network that gives logits of a backbone's features."""

from __future__ import annotations

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from small_networks import build_network, made_features, made_image, networks_of
from torch import Tensor, nn


@pytest.fixture(params=networks_of("classifier"))
def name(request) -> str:
    return request.param


@pytest.fixture
def classifier(name) -> nn.Module:
    return build_network(name)


def inputs_for(classifier: nn.Module, name: str, batch: int = 3) -> tuple[Tensor, list[Tensor]]:
    image = made_image(16, 28, batch)
    return image, made_features(classifier, image, name)


@torch.no_grad()
def test_gives_a_finite_logit_for_each_class(name, classifier):
    image, features = inputs_for(classifier, name)
    before = [feature.clone() for feature in features]
    logits = classifier(image, features)
    assert logits.shape == (3, ARCH_CONFIGS[name]["num_classes"])
    assert logits.isfinite().all()
    assert all(torch.equal(feature, kept) for feature, kept in zip(features, before, strict=True)), "changed in place"


@torch.no_grad()
def test_an_image_has_the_same_logits_in_any_batch(name, classifier):
    image, features = inputs_for(classifier, name)
    alone = classifier(image[1:2], [feature[1:2] for feature in features])
    torch.testing.assert_close(classifier(image, features)[1:2], alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_bf16_stays_near_fp32(name, classifier):
    exact = classifier(*inputs_for(classifier, name))
    with torch.autocast("cpu", torch.bfloat16):
        rough = classifier(*inputs_for(classifier, name)).float()
    assert (rough - exact).norm() < 0.05 * exact.norm()


@torch.no_grad()
def test_memory_order_does_not_matter(name, classifier):
    image, features = inputs_for(classifier, name)
    strided = [feature.contiguous(memory_format=torch.channels_last) for feature in features]
    expected = classifier(image, features)
    torch.testing.assert_close(classifier(image, strided), expected, atol=1e-5, rtol=1e-4)


def test_gradients_reach_every_parameter_and_feature(name, classifier):
    image, features = inputs_for(classifier, name)
    features = [feature.requires_grad_() for feature in features]
    classifier.train()(image, features).square().sum().backward()
    assert [key for key, p in classifier.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert all(feature.grad.any() for feature in features)


def test_a_missing_feature_is_told(name, classifier):
    image, features = inputs_for(classifier, name)
    with pytest.raises(ValueError, match=f"got {len(features) - 1} features|got {len(features) - 1}$"):
        classifier(image, features[:-1])


@torch.no_grad()
def test_state_dict_round_trip(name, classifier):
    other, given = build_network(name, seed=1), inputs_for(classifier, name)
    assert not torch.equal(other(*given), classifier(*given))
    other.load_state_dict(classifier.state_dict(), strict=True)
    assert torch.equal(other(*given), classifier(*given))
