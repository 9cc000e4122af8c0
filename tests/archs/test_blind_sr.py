"""Backbones that are steered by a degradation code."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from uir.archs.airnet_arch import DGRN
from uir.archs.cdsr_arch import CDSR
from uir.archs.conditioned_arch import BODIES, ConditionedNet
from uir.archs.dasr_arch import DASR
from uir.archs.imdn_arch import IMDN, ContrastAttention, IMDNAdapted
from uir.encoders.airnet_encoder import CBDE
from uir.layers.code_modulator import MODULATORS
from uir.layers.degradation_code import DegradationCode
from uir.registry.components import build

pytestmark = pytest.mark.thorough


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def a_code(batch: int = 2) -> DegradationCode:
    return DegradationCode(vector=random(batch, 6, seed=1), map=random(batch, 5, 4, 4, seed=2))


def awake(network: nn.Module) -> nn.Module:
    """No branch starts switched off."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return network.eval()


def conditioned(**arguments) -> ConditionedNet:
    small = {"scale": 2, "num_feat": 8, "num_block": 1, "code_channels": 6, "map_channels": 5}
    return awake(ConditionedNet(**{**small, **arguments}))


NETWORKS = {
    "DASR": lambda: awake(DASR(2, 1, 1, 8, code_channels=6)),
    "CDSR": lambda: awake(CDSR(2, 4, 1, 2, code_channels=6)),
    "IMDNAdapted": lambda: awake(IMDNAdapted(nf=16, upscale=2, code_channels=6)),
    "DGRN": lambda: awake(DGRN(1, 1, 4, map_channels=5)),
    "ConditionedNet": conditioned,
}


@pytest.fixture(params=NETWORKS)
def network(request) -> nn.Module:
    return NETWORKS[request.param]()


@torch.no_grad()
def test_the_code_steers(network):
    network.double()  # CDSR's code passes through six small layers, of which little arrives
    lq, code = random(2, 3, 9, 11).double(), a_code().apply(lambda tensor: tensor.double())
    restored = network(lq, code)
    for other in (code.zeros_like(), code.index_select(torch.tensor([1, 0]))):
        assert (network(lq, other) - restored).abs().amax((1, 2, 3)).min() > 1e-8


def test_the_gradient_reaches_the_encoder(network):
    lq = random(2, 3, 16, 20)
    encoder = CBDE((5, 4, 6))
    network(lq, encoder(lq)).square().mean().backward()
    first = encoder.E_pre.backbone[0].weight.grad
    assert first is not None
    assert first.any()


def test_without_a_code_it_says_what_to_do(network):
    with pytest.raises(ValueError, match=f"{type(network).__name__} needs a degradation code"):
        network(random(1, 3, 8, 8))


def test_a_code_of_another_width_is_refused(network):
    code = DegradationCode(vector=torch.zeros(1, 3), map=torch.zeros(1, 3, 2, 2))
    with pytest.raises(ValueError, match=f"{type(network).__name__} is built for [65] channels"):
        network(random(1, 3, 8, 8), code)


@torch.no_grad()
def test_dasr_is_the_same_with_and_without_the_short_ways():
    network = NETWORKS["DASR"]()
    lq, code = random(1, 3, 50, 52), a_code(1)
    with torch.enable_grad():
        plain = network(lq, code)
    torch.testing.assert_close(network(lq, code), plain, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_dasr_scales_to_the_range_of_its_weights():
    in_bytes, in_units = DASR(2, 1, 1, 8, code_channels=6), DASR(2, 1, 1, 8, code_channels=6, rgb_range=1)
    state = in_bytes.state_dict()
    kept = {key: value for key, value in in_units.state_dict().items() if "mean" in key}
    in_units.load_state_dict(state | kept)
    for name in ("sub_mean", "add_mean"):
        in_units.get_submodule(name).bias.mul_(255)
    lq, code = random(1, 3, 8, 9), a_code(1)
    torch.testing.assert_close(in_bytes(lq, code), in_units(255 * lq, code) / 255, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("cls", "arguments"), [(DASR, {"scale": 0}), (CDSR, {"nb": 0}), (DGRN, {"n_groups": 0})])
def test_numbers_that_are_not_positive_are_refused(cls, arguments):
    with pytest.raises(ValueError, match=f"{cls.__name__}: .* must be at least 1"):
        cls(**arguments)


def test_published_imdn_has_as_many_parameters_and_tensors():
    network = IMDN()
    assert sum(p.numel() for p in network.parameters()) == 715_176
    assert len(network.state_dict()) == 92
    adapters = sum(p.numel() for p in IMDNAdapted().parameters()) - 715_176
    assert adapters == 955_248


@torch.no_grad()
def test_adapters_that_add_nothing_leave_imdn_as_it_was():
    adapted, plain = IMDNAdapted(nf=16, upscale=2, code_channels=6), IMDN(nf=16, upscale=2)
    plain.load_state_dict({key: value for key, value in adapted.state_dict().items() if not key.startswith("adapt")})
    for index in range(7):
        last = adapted.get_submodule(f"adapt{index}.conv2")
        last.weight.zero_()
        last.bias.zero_()
    lq = random(2, 3, 9, 11)
    torch.testing.assert_close(adapted(lq, a_code()), plain(lq))


def test_contrast_attention_takes_mean_plus_deviation_and_flat_channels_do_no_harm():
    layer = ContrastAttention(32)
    x = torch.randn(2, 32, 5, 6, generator=torch.Generator().manual_seed(0))
    x[:, 3] = 0.5
    x.requires_grad_()
    seen = (x.mean((2, 3)) + x.std((2, 3), correction=0))[:, :, None, None]
    torch.testing.assert_close(layer(x), x * layer.conv_du(seen))
    layer(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("nf", [0, 18])
def test_imdn_refuses_channels_that_have_no_quarter(nf):
    with pytest.raises(ValueError, match=f"expected a multiple of 4, got {nf}"):
        IMDN(nf=nf)


@torch.no_grad()
def test_dgrn_stretches_a_smaller_map():
    network, lq = NETWORKS["DGRN"](), random(1, 3, 8, 12)
    constant = random(1, 5, 1, 1)
    maps = [constant.expand(-1, -1, *size) for size in [(1, 1), (4, 6), (8, 12)]]
    first, *others = (network(lq, DegradationCode(map=code)) for code in maps)
    for other in others:
        torch.testing.assert_close(other, first, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("modulator", MODULATORS.keys())
@pytest.mark.parametrize("body", BODIES)
def test_every_body_takes_every_modulator(body, modulator):
    network = conditioned(body=body, modulator=modulator)
    code = a_code().apply(lambda tensor: tensor.requires_grad_())
    restored = network(random(2, 3, 8, 10), code)
    assert restored.shape == (2, 3, 16, 20)
    restored.square().mean().backward()
    assert code.vector.grad.any(1).all()
    assert [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("modulator", ["sft", "stretch"])
def test_a_map_steers_where_the_modulator_can(modulator):
    network = conditioned(modulator=modulator, condition="map")
    lq, code = random(1, 3, 12, 12), DegradationCode(map=torch.zeros(1, 5, 12, 12))
    with torch.no_grad():
        before = network(lq, code)
        code.map[..., :, 9:] = 1
        changed = (network(lq, code) - before).abs().amax((0, 1, 2))
    assert changed[-4:].min() > 1e-4  # where the map says so
    assert changed[:2].max() < 1e-6  # and nowhere far from it


@pytest.mark.parametrize("scale", [1, 2, 3, 5])
@torch.no_grad()
def test_any_scale(scale):
    restored = conditioned(scale=scale)(random(1, 3, 7, 9), a_code(1))
    assert restored.shape == (1, 3, 7 * scale, 9 * scale)


@torch.no_grad()
def test_a_net_that_adds_nothing_enlarges_bilinearly():
    network = conditioned(scale=2)
    network.tail[1].weight.zero_()
    network.tail[1].bias.zero_()
    lq = random(1, 3, 6, 7)
    torch.testing.assert_close(network(lq, a_code(1)), nn.Upsample(scale_factor=2, mode="bilinear")(lq))


def test_the_encoders_width_can_come_from_the_surroundings():
    spec = {"type": "ConditionedNet", "num_feat": 8, "num_block": 1}
    assert build("archs", spec, {"code_channels": 12, "scale": 3}).compress[0].in_features == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"body": "unet"}, "ConditionedNet.body: expected dasr, rrdb, nafnet, got 'unet'"),
        ({"modulator": "film"}, "modulator: there is no 'film'"),
        ({"condition": "params"}, "ConditionedNet.condition: expected vector or map, got 'params'"),
        ({"condition": "map"}, "modulator 'da_conv' cannot use a code's map"),
        ({"num_block": 0}, "num_feat and num_block must be positive"),
        ({"scale": 0}, "scale: expected an integer of at least 1"),
        ({"modulator": "sft", "modulator_args": {"reduction": 2}}, "modulator 'sft' has no argument reduction"),
    ],
)
def test_wrong_choices_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        conditioned(**arguments)
