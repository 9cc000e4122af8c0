"""The parameter-free baselines."""

import pytest
import torch

from uir.archs.interpolation_arch import Bicubic, Identity
from uir.layers.resize import imresize


def test_identity_returns_its_input():
    image = torch.rand(1, 3, 5, 7)
    assert Identity()(image) is image


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_bicubic_upscales_by_its_scale(scale):
    image = torch.rand(2, 3, 5, 7)
    restored = Bicubic(scale)(image)
    assert restored.shape == (2, 3, 5 * scale, 7 * scale)
    torch.testing.assert_close(restored, imresize(image, scale))


@pytest.mark.parametrize("network", [Identity(), Bicubic(4)])
def test_declares_what_a_backbone_declares(network):
    assert network.pad_multiple == 1
    assert network.scale in (1, 4)
    assert network.feature_points() == []
    assert list(network.parameters()) == []


@pytest.mark.parametrize("scale", [0, 1.5, -2])
def test_bicubic_refuses_a_scale_that_is_not_a_whole_number(scale):
    with pytest.raises(ValueError, match="whole number"):
        Bicubic(scale)
