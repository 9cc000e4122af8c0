"""The light decoder of features."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_networks import build_network, made_inputs, networks_of

from uir.archs.tap_decoder_arch import TapDecoder
from uir.layers.features import FeaturePoint

FINE, COARSE = FeaturePoint("fine", 4, 1), FeaturePoint("coarse", 6, 4)


@pytest.mark.parametrize("name", networks_of("decoder"))
def test_every_decoder_gives_an_image_and_all_of_it_learns(name: str) -> None:
    network = build_network(name, moved=0.1)
    inputs = made_inputs(network, name, 32, 48)
    assert isinstance(inputs, dict)
    image = network(**inputs)
    assert image.shape == (2, 3, 32, 48)
    image.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert (network(**inputs).float() - image).norm() < 0.05 * image.norm()


@pytest.mark.parametrize(("reach", "distance"), [(4, 4), (16, 16)])
def test_it_reaches_as_far_as_it_says(reach: int, distance: int) -> None:
    torch.manual_seed(0)
    network, feature = TapDecoder([FINE], 8, reach), torch.zeros(1, 4, 64, 64, requires_grad=True)
    network(torch.empty(1, 3, 64, 64), [feature])[0, :, 32, 32].sum().backward()
    assert feature.grad is not None
    seen = feature.grad[0].abs().sum(0) > 0
    assert seen[32 - distance : 32 + distance, 32 - distance : 32 + distance].all()


def test_tokens_are_the_map_they_are_of_whatever_the_size() -> None:
    torch.manual_seed(0)
    by_map = TapDecoder([FINE, COARSE], 8)
    by_token = TapDecoder([FeaturePoint("fine", 4, 1, "tokens"), FeaturePoint("coarse", 6, 4, "tokens")], 8)
    by_token.load_state_dict(by_map.state_dict())
    lq, fine, coarse = torch.empty(2, 3, 20, 28), torch.rand(2, 4, 20, 28), torch.rand(2, 6, 5, 7)
    tokens = [feature.flatten(2).transpose(1, 2) for feature in (fine, coarse)]
    made = by_map(lq, [fine, coarse])
    assert made.shape == (2, 3, 20, 28)
    torch.testing.assert_close(by_token(lq, tokens), made)


def test_features_of_one_size_are_added() -> None:
    torch.manual_seed(0)
    network, first, second = TapDecoder([FINE, FINE], 8), torch.rand(1, 4, 16, 16), torch.rand(1, 4, 16, 16)
    network.inward[1].load_state_dict(network.inward[0].state_dict())
    torch.testing.assert_close(
        network(torch.empty(1, 3, 16, 16), [first, second]), network(torch.empty(1, 3, 16, 16), [second, first])
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"feature_points": []}, "feature_points: expected strides that are powers of two"),
        ({"feature_points": [FeaturePoint("body", 4, 3)]}, r"powers of two, got \[3\]"),
        ({"reach": 12}, "reach: expected a power of two, got 12"),
        ({"width": 0}, "width and out_channels must be at least 1, got 0 and 3"),
    ],
)
def test_impossible_sizes_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TapDecoder(**{"feature_points": [FINE], **arguments})


def test_another_number_of_features_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 features, got 2"):
        TapDecoder([FINE])(torch.empty(1, 3, 8, 8), [torch.empty(1, 4, 8, 8)] * 2)
