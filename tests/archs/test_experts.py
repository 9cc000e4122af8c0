"""Experts mixed in weight space: DASR's restorer, and any backbone."""

from __future__ import annotations

import itertools

import pytest
import torch
from arch_configs import NAFNET
from torch import Tensor, nn
from torch.nn import functional as F

from uir.archs.expert_arch import ExpertNet
from uir.archs.msrresnet_arch import MSRResNet, MSRResNetDynamic
from uir.core.checkpoint import CheckpointError, fit_state
from uir.encoders.degradation_predictor_encoder import DegradationPredictor
from uir.layers.experts import DynamicConv2d, mixed
from uir.registry.components import build

BACKBONES = {
    "NAFNet": {"type": "NAFNet", **NAFNET},
    "MSRResNet": {"type": "MSRResNet", "num_feat": 6, "num_block": 1, "upscale": 2},
}
NETWORKS = {
    **{name: lambda spec=spec: ExpertNet(spec, 3) for name, spec in BACKBONES.items()},
    "dynamic": lambda: MSRResNetDynamic(num_feat=6, num_block=1, num_models=3, upscale=2),
}
each_network = pytest.mark.parametrize("name", NETWORKS)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def made(name: str) -> nn.Module:
    """A network whose experts are far from each other."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            parameter.add_(drawn(*parameter.shape, seed=index), alpha=0.1)
    return network.eval()


@torch.no_grad()
def test_a_dynamic_convolution_equals_the_grouped_convolution_of_the_published_code():
    torch.manual_seed(0)
    conv, images, shares = DynamicConv2d(4, 6, 3, experts=3, stride=2), drawn(5, 4, 9, 11), drawn(5, 3)
    weight, bias = mixed(conv.weight, shares), mixed(conv.bias, shares)
    grouped = F.conv2d(images.reshape(1, 20, 9, 11), weight.flatten(0, 1), bias.flatten(), 2, 1, groups=5)
    torch.testing.assert_close(conv(images, shares), grouped.view(5, 6, *grouped.shape[-2:]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@each_network
def test_each_image_of_a_batch_is_restored_by_its_own_mixture(name):
    network, lq, shares = made(name), torch.rand(3, 3, 12, 16), drawn(3, 3)
    together = network(lq, shares)
    alone = [network(lq[i : i + 1], shares[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(network(lq, shares[:1])[1:2], alone[1], atol=1e-3)


@torch.no_grad()
@each_network
def test_the_collapsed_network_restores_the_same(name):
    network, lq, shares = made(name), torch.rand(2, 3, 12, 16), drawn(1, 3)
    arch, state = network.collapsed(shares[0])
    plain = build("archs", arch).eval()
    plain.load_state_dict(state, strict=True)
    torch.testing.assert_close(plain(lq), network(lq, shares), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", BACKBONES)
def test_one_trained_network_is_copied_into_all_experts(name):
    plain, network = build("archs", BACKBONES[name]).eval(), ExpertNet(BACKBONES[name], 3).eval()
    fit_state(network, plain.state_dict(), "plain.pth")
    lq, shares = torch.rand(2, 3, 12, 16), torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    torch.testing.assert_close(network(lq, shares), plain(lq), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_published_start_copies_a_plain_checkpoint():
    plain = MSRResNet(num_feat=6, num_block=1, upscale=2)
    network = MSRResNetDynamic(num_feat=6, num_block=1, num_models=3, upscale=2)
    fit_state(network, plain.state_dict(), "plain.pth")
    lq = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(network(lq, torch.tensor([[0.2, 0.3, 0.5]])), plain(lq), atol=1e-5, rtol=1e-5)
    with pytest.raises(CheckpointError, match="do not fit MSRResNetDynamic"):
        fit_state(network, MSRResNet(num_feat=8, num_block=1, upscale=2).state_dict(), "other.pth")


@torch.no_grad()
@each_network
def test_from_scratch_experts_differ_and_their_mean_is_a_usual_start(name):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    key, experts = next((k, p) for k, p in network.named_parameters() if p.ndim == 5 and p.shape[1] > 3)
    assert all(not torch.equal(one, other) for one, other in itertools.combinations(experts, 2))
    plain = build("archs", BACKBONES["MSRResNet" if name == "dynamic" else name])
    usual = plain.get_parameter(key.removeprefix("backbone."))
    assert float(experts.mean(0).std() / usual.std()) == pytest.approx(1, abs=0.25)


def test_the_predictor_starts_near_equal_shares_and_routes_changed_numbers():
    torch.manual_seed(0)
    predictor = DegradationPredictor(nf=4)
    code = predictor.predict(torch.rand(2, 3, 16, 16))
    torch.testing.assert_close(code.experts, torch.full((2, 5), 0.2), atol=0.1, rtol=0)
    torch.testing.assert_close(predictor.route(code), code.experts)
    moved = predictor.route(type(code)(params=code.params + 1))
    assert not torch.allclose(moved, code.experts)


@each_network
def test_channels_last_and_whole_batches_train(name):
    network = NETWORKS[name]().to(memory_format=torch.channels_last)
    network(torch.rand(2, 3, 8, 8).contiguous(memory_format=torch.channels_last), drawn(2, 3)).mean().backward()
    assert all(p.grad is not None for p in network.parameters())


@each_network
def test_missing_or_wrong_shares_are_said(name):
    network = NETWORKS[name]()
    with pytest.raises(ValueError, match="needs `experts`, the weight of each of its 3 experts"):
        network(torch.rand(2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"expected `experts` of the shape \[2, 3\]"):
        network(torch.rand(2, 3, 8, 8), torch.ones(2, 5))


@pytest.mark.thorough
@torch.no_grad()
@each_network
def test_a_compiled_network_gives_the_same(name):
    network, lq, shares = made(name), torch.rand(2, 3, 16, 16), drawn(2, 3)
    torch.compiler.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)  # code for the machine would take a minute
    torch.testing.assert_close(compiled(lq, shares), network(lq, shares), atol=1e-4, rtol=1e-4)
