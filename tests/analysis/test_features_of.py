"""The features of networks and encoders as vectors."""

import copy
from dataclasses import dataclass

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from torch import nn

from uir.analysis.features_of import features_of, pixel_features
from uir.layers.degradation_code import DegradationCode
from uir.layers.features import FeaturePoint, FeatureTap
from uir.registry.components import build

IMAGES = torch.rand(5, 3, 16, 24, generator=torch.Generator().manual_seed(0))


class Encoder(nn.Module):
    """Fills several fields of a code."""

    def forward(self, image):
        return DegradationCode(
            vector=image.mean((2, 3)), map=image[:, :2], score=image.mean((1, 2, 3)), mask=image.mean((2, 3)) > 0,
            kernel=image[:, :1, :3, :3],
        )  # fmt: skip


class Tokens(nn.Module):
    """A feature point that gives tokens."""

    def __init__(self):
        super().__init__()
        self.body = nn.Flatten(2)
        self.turn = nn.Identity()

    def feature_points(self):
        return [FeaturePoint("turn", 3, 1, "tokens")]

    def forward(self, lq):
        self.turn(self.body(lq).transpose(1, 2))
        return lq


def test_every_feature_point_is_pooled_over_space_in_its_order():
    net = build("archs", {"type": "NAFNet", **ARCH_CONFIGS["NAFNet"]}).eval()
    found = features_of(net, IMAGES, batch_size=2)
    with torch.no_grad():
        expected = FeatureTap(net)(IMAGES)[1]
    assert list(found) == [point.name for point in net.feature_points()]
    for own, feature in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(own, feature.mean((2, 3)), rtol=1e-4, atol=1e-5)
    flat = features_of(net, IMAGES, pool="flatten")
    torch.testing.assert_close(flat["decoders.1"], expected[1].flatten(1), rtol=1e-4, atol=1e-5)


def test_the_network_is_left_as_it_is():
    net = build("archs", {"type": "NAFNet", **ARCH_CONFIGS["NAFNet"]}).train()
    before = copy.deepcopy(net.state_dict())
    features_of(net, IMAGES)
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_tokens_are_pooled_over_their_places():
    torch.testing.assert_close(features_of(Tokens(), IMAGES)["turn"], IMAGES.mean((2, 3)))


def test_a_code_gives_a_level_for_each_field():
    found = features_of(Encoder(), IMAGES, batch_size=2)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "vector": (5, 3),
        "map": (5, 2),
        "score": (5, 1),
        "kernel": (5, 9),
    }
    torch.testing.assert_close(found["map"], IMAGES[:, :2].mean((2, 3)))
    assert features_of(Encoder(), IMAGES, pool="flatten")["map"].shape == (5, 2 * 16 * 24)


def test_any_dataclass_and_a_plain_vector_are_codes_too():
    @dataclass
    class Own:
        vector: torch.Tensor

    class Plain(nn.Module):
        def forward(self, image):
            return Own(image.mean((2, 3)))

    assert list(features_of(Plain(), IMAGES)) == ["vector"]
    vector = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    torch.testing.assert_close(features_of(vector, IMAGES)["output"], IMAGES.mean((2, 3)))


def test_a_network_without_points_is_told():
    with pytest.raises(ValueError, match="declares no feature points"):
        features_of(nn.Conv2d(3, 3, 1), IMAGES)


def test_pixels_are_the_image():
    assert torch.equal(pixel_features(IMAGES), IMAGES.reshape(5, -1))
