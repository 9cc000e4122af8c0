"""What holds for every registered network that gives a degradation code."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_networks import build_network, networks_of
from torch import Tensor, nn

from uir.layers.degradation_code import DegradationCode


def images(batch: int = 3) -> Tensor:
    return torch.rand(batch, 3, 37, 51, generator=torch.Generator().manual_seed(1))


def filled(code: DegradationCode) -> dict[str, Tensor]:
    values = {field.name: getattr(code, field.name) for field in dataclasses.fields(code)}
    return {key: value for key, value in values.items() if value is not None}


@pytest.fixture(params=networks_of("encoder"))
def name(request) -> str:
    return request.param


@pytest.fixture
def encoder(name) -> nn.Module:
    return build_network(name)


@torch.no_grad()
def test_codes_are_as_wide_as_declared(encoder):
    lq = images()
    before = lq.clone()
    code = encoder(lq)
    assert isinstance(code, DegradationCode)
    assert code.vector.shape == (3, encoder.code_channels)
    if code.map is not None:
        assert code.map.shape[:2] == (3, encoder.map_channels)
    assert all(value.shape[0] == 3 and value.isfinite().all() for value in filled(code).values())
    assert torch.equal(lq, before), "the input was changed in place"


@torch.no_grad()
def test_an_image_has_the_same_code_in_any_batch(encoder):
    whole, alone = filled(encoder(images())), filled(encoder(images()[1:2]))
    for key, value in alone.items():
        torch.testing.assert_close(whole[key][1:2], value, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_bf16_stays_near_fp32(encoder):
    exact = encoder(images()).vector
    with torch.autocast("cpu", torch.bfloat16):
        rough = encoder(images()).vector.float()
    assert (rough - exact).norm() < 0.05 * exact.norm()


def test_every_parameter_gets_a_gradient(encoder):
    code = encoder.train()(images())
    sum(value.square().mean() for value in filled(code).values()).backward()
    without = [key for key, p in encoder.named_parameters() if p.grad is None]
    assert not without


@pytest.mark.thorough
@torch.no_grad()
def test_state_dict_round_trip(name, encoder):
    other = build_network(name, seed=1)
    assert not torch.equal(other(images()).vector, encoder(images()).vector)
    other.load_state_dict(encoder.state_dict(), strict=True)
    assert torch.equal(other(images()).vector, encoder(images()).vector)


@torch.no_grad()
def test_memory_order_does_not_matter(encoder):
    lq = images().transpose(2, 3)
    expected, got = filled(encoder(lq.contiguous())), filled(encoder(lq))
    for key, value in expected.items():
        torch.testing.assert_close(got[key], value, atol=1e-4, rtol=1e-4)
