"""What holds for every registered backbone."""

from __future__ import annotations

import os
import shutil

import pytest
import torch
from small_networks import build_network, made_code, made_experts, networks_of
from torch import Tensor, nn

from uir.layers.features import FeatureTap
from uir.registry.components import build

# IDR's mixture reads the components of its hubs without gradients; they are trained by naming a hub.
READ_ONLY = {("IDR", "degra_key")}
ODD_HEIGHT, ODD_WIDTH = 37, 51


def build_small(name: str, seed: int = 0) -> nn.Module:
    """A backbone of its small configuration; weights drawn so that no branch starts switched off."""
    network = build_network(name, seed, moved=0.1)
    if hasattr(network, "code_channels") or hasattr(network, "map_channels"):
        network.register_forward_pre_hook(lambda network, inputs: (*inputs, made_code(network, *inputs)))
    if hasattr(network, "num_experts"):
        network.register_forward_pre_hook(lambda network, inputs: (*inputs, made_experts(network, *inputs)))
    return network


def odd_image(batch: int = 2, more: int = 0) -> Tensor:
    return torch.rand(batch, 3, ODD_HEIGHT + more, ODD_WIDTH + more, generator=torch.Generator().manual_seed(1))


def assert_near(got: Tensor, expected: Tensor) -> None:
    """The same up to rounding: 1e-5, or, where an output is large, that part of its largest number."""
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(got, expected, atol=1e-5 * scale, rtol=1e-5)


@pytest.fixture(params=networks_of("backbone"))
def name(request) -> str:
    return request.param


@pytest.fixture
def network(name) -> nn.Module:
    return build_small(name)


@torch.no_grad()
def test_restores_an_odd_sized_image_at_its_scale(network):
    lq = odd_image()
    before = lq.clone()
    restored = network(lq)
    assert restored.shape == (2, 3, ODD_HEIGHT * network.scale, ODD_WIDTH * network.scale)
    assert restored.dtype == torch.float32
    assert restored.isfinite().all()
    assert torch.equal(lq, before), "the input was changed in place"


@pytest.mark.thorough
def test_every_parameter_gets_a_gradient(name, network):
    parameters = {key: parameter for key, parameter in network.named_parameters() if parameter.requires_grad}
    if not parameters:
        pytest.skip("it has no parameters")
    # Where a level has one pixel, attention has nothing to choose from, and its queries get no gradient.
    more = 64 if name.startswith("TransWeather") else 0
    network.train()(odd_image(more=more)).square().mean().backward()
    without = [key for key, parameter in parameters.items() if parameter.grad is None or not parameter.grad.any()]
    assert [key for key in without if (name, key) not in READ_ONLY] == []


@torch.no_grad()
def test_bf16_stays_near_fp32(network):
    lq = odd_image()
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(lq)
    exact = network(lq)
    assert (rough.float() - exact).norm() < 0.03 * exact.norm()


@pytest.mark.thorough
@torch.no_grad()
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_memory_order_does_not_matter(network, memory_format):
    lq = odd_image().transpose(2, 3)
    expected = network(lq.contiguous())
    assert_near(network(lq), expected)
    network.to(memory_format=memory_format)
    assert_near(network(lq.contiguous(memory_format=memory_format)), expected)


@torch.no_grad()
def test_an_image_does_not_depend_on_its_batch(network):
    lq = odd_image(3)
    assert_near(network(lq)[1:2], network(lq[1:2]))


@torch.no_grad()
def test_state_dict_round_trip(name, network):
    other = build_small(name, seed=1)
    other.load_state_dict(network.state_dict(), strict=True)
    assert torch.equal(other(odd_image()), network(odd_image()))


def test_declares_its_multiple_and_scale(network):
    assert isinstance(network.pad_multiple, int)
    assert network.pad_multiple >= 1
    assert isinstance(network.scale, int)
    assert network.scale >= 1


@torch.no_grad()
def test_feature_points_are_as_declared(network):
    points = network.feature_points()
    if not points:
        pytest.skip("it declares no feature points")
    height, width = (-(-side // network.pad_multiple) * network.pad_multiple for side in (ODD_HEIGHT, ODD_WIDTH))
    _, features = FeatureTap(network)(odd_image())
    for point, feature in zip(points, features, strict=True):
        rows, columns = height // point.stride, width // point.stride
        as_declared = (
            (2, point.channels, rows, columns) if point.layout == "nchw" else (2, rows * columns, point.channels)
        )
        assert feature.shape == as_declared, point.name


@pytest.mark.thorough
@torch.no_grad()
def test_compiles_whole():
    if not any(shutil.which(compiler) for compiler in (os.environ.get("CXX", "g++"), "clang++")):
        reason = "torch.compile needs a C++ compiler: install g++ or name one in CXX"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    network = build("archs", {"type": "uir:NAFNet", "width": 2, "enc_blk_nums": [1], "dec_blk_nums": [1]})
    for parameter in network.parameters():
        parameter.add_(0.1)
    lq = torch.rand(1, 3, 6, 6)
    torch.testing.assert_close(torch.compile(network, fullgraph=True)(lq), network(lq), atol=1e-5, rtol=1e-5)
