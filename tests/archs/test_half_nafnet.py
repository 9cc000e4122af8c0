"""HalfNAFNet: NAFNet on 2×2 pixels as channels, with up-samplings that leave no grid."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from uir.archs.half_nafnet_arch import HalfNAFNet
from uir.archs.nafnet_arch import NAFNet

SMALL = {"width": 4, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}


def made(seed: int = 0, moved: float = 0.0) -> HalfNAFNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = HalfNAFNet(**SMALL)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=moved)
    return network.eval()


@torch.no_grad()
def test_it_is_nafnet_on_pixels_as_channels() -> None:
    network = made(moved=0.2)
    inner = NAFNet(12, **SMALL)
    inner.ups = network.ups
    inner.load_state_dict(network.state_dict())
    lq = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    expected = F.pixel_shuffle(inner(F.pixel_unshuffle(lq, 2)), 2)
    torch.testing.assert_close(network(lq), expected)


@torch.no_grad()
def test_a_new_network_leaves_no_grid_on_a_flat_image() -> None:
    flat = torch.tensor([0.2, 0.5, 0.7]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    change = (made()(flat) - flat)[..., 16:48, 16:48]  # far from the border, which the convolutions see
    assert change.abs().min() > 1e-3  # the network does change the image
    torch.testing.assert_close(change, change[..., :1, :1].expand_as(change), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("level", [0, 1])
def test_every_enlarging_keeps_a_flat_map_flat(level: int) -> None:
    up = made(moved=0.5).ups[level]
    flat = torch.randn(1, 16 // 2**level, 1, 1, generator=torch.Generator().manual_seed(1)).expand(-1, -1, 8, 8)
    large = up(flat)
    assert large.shape == (1, 8 // 2**level, 16, 16)
    torch.testing.assert_close(large, large[..., :1, :1].expand_as(large))


def test_sizes_are_multiples_of_the_coarsest_level() -> None:
    network = made()
    assert network.pad_multiple == 8
    assert [(point.name, point.channels, point.stride) for point in network.feature_points()] == [
        ("decoders.0", 8, 4),
        ("decoders.1", 4, 2),
    ]


def toned() -> HalfNAFNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return HalfNAFNet(**SMALL, tone=6).eval()


def without_tone(network: HalfNAFNet) -> HalfNAFNet:
    """The same network without its branch in front."""
    plain = made()
    plain.load_state_dict({key: value for key, value in network.state_dict().items() if not key.startswith("tone.")})
    return plain


@torch.no_grad()
def test_a_new_tone_branch_changes_nothing() -> None:
    network = toned()
    lq = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    plain = without_tone(network)
    torch.testing.assert_close(network(lq), plain(lq))


@torch.no_grad()
def test_gain_and_offset_act_before_the_net() -> None:
    network = toned()
    lq = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = without_tone(network)
    network.tone.last.bias.copy_(torch.tensor([0.5, 0.0, 9.0, 0.1, -0.2, 0.0]))
    gain = torch.tensor([0.5, 0.0, 4.0]).exp().view(1, 3, 1, 1)  # a gain is at most e⁴
    offset = torch.tensor([0.1, -0.2, 0.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(network(lq), plain(lq * gain + offset))


@torch.no_grad()
def test_a_tone_depends_on_the_place() -> None:
    network = toned()
    for parameter in network.tone.parameters():
        parameter.normal_(0, 0.3)
    lq = torch.cat([torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)], 3)
    change = network.tone(lq) - lq
    assert (change[..., :20].mean() - change[..., -20:].mean()).abs() > 0.05


def test_a_net_with_a_tone_branch_does_not_add_its_input() -> None:
    assert made().adds_input
    assert not toned().adds_input
    assert toned().depths()[0] == ["tone"]
