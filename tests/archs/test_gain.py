"""Gain vectors: a continuous strength for any backbone."""

from __future__ import annotations

import pytest
import torch
from arch_configs import NAFNET

from uir.archs.gain_arch import GainNet
from uir.core.checkpoint import fit_state
from uir.registry.components import build

BACKBONE = {"type": "NAFNet", **NAFNET}


@pytest.fixture
def network() -> GainNet:
    torch.manual_seed(0)
    network = GainNet(BACKBONE, 4).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return network


@torch.no_grad()
def test_gain_times_inverse_gain_is_constant_and_ends_are_the_levels(network):
    strength = torch.linspace(0, 1, 9)
    gain, inverse = network.gains(strength)
    torch.testing.assert_close(gain * inverse, network.log_product.exp().expand(9, -1))
    torch.testing.assert_close(gain[[0, -1]], network.log_gain[[0, -1]].exp())
    half_way = network.gains(torch.tensor([0.5 / 3]))[0]
    torch.testing.assert_close(half_way[0], (network.log_gain[0].exp() * network.log_gain[1].exp()).sqrt())


@torch.no_grad()
def test_each_image_has_its_own_strength_and_the_collapsed_backbone_is_the_same(network):
    lq, strength = torch.rand(2, 3, 16, 24), torch.tensor([0.1, 0.8])
    restored = network(lq, strength)
    for index, value in enumerate(strength):
        arch, state = network.collapsed(value)
        plain = build("archs", arch).eval()
        plain.load_state_dict(state, strict=True)
        torch.testing.assert_close(plain(lq[index : index + 1]), restored[index : index + 1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(network(lq[:1], 0.8), restored[:1], atol=1e-3)


@torch.no_grad()
def test_a_trained_backbone_loads_and_no_strength_changes_it_at_first():
    plain, network = build("archs", BACKBONE).eval(), GainNet(BACKBONE).eval()
    fit_state(network, plain.state_dict(), "plain.pth")
    lq = torch.rand(2, 3, 16, 24)
    torch.testing.assert_close(network(lq, torch.tensor([0.0, 0.7])), plain(lq), atol=1e-6, rtol=1e-5)


def test_a_backbone_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="IMDN has no last convolution with as many channels"):
        GainNet({"type": "IMDN", "nf": 8, "upscale": 2, "reduction": 2})
    with pytest.raises(ValueError, match="levels: expected at least 2"):
        GainNet(BACKBONE, 1)
