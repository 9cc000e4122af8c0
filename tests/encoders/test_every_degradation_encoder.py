"""What holds for every encoder that gives a degradation code."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY
from uir.registry.components import build

ENCODER_CONFIGS = {
    "CBDE": {"widths": [4, 6, 8]},
    "CDSREncoder": {"widths": [4, 6, 8], "codebook_size": 12},
    "ConvBN6Encoder": {"widths": [4, 6, 8]},
    "DAAEncoder": {"widths": [4, 6, 8], "ranker_widths": [12, 10, 8]},
    "IKCPredictor": {"nf": 4, "num_params": 3},
    "TimmEncoder": {"trunk": "resnet18"},
}
ENCODERS = [
    name
    for name, cls in ARCH_REGISTRY
    if cls.__module__.startswith("uir.encoders.") and cls.forward.__annotations__.get("return") == "DegradationCode"
]


def build_small(name: str, seed: int = 0) -> nn.Module:
    if name not in ENCODER_CONFIGS:
        pytest.fail(f"{name} has no configuration here")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build("archs", {"type": f"uir:{name}", **ENCODER_CONFIGS[name]}).eval()


def images(batch: int = 3) -> Tensor:
    return torch.rand(batch, 3, 37, 51, generator=torch.Generator().manual_seed(1))


def filled(code: DegradationCode) -> dict[str, Tensor]:
    values = {field.name: getattr(code, field.name) for field in dataclasses.fields(code)}
    return {key: value for key, value in values.items() if value is not None}


@pytest.fixture(params=ENCODERS)
def name(request) -> str:
    return request.param


@pytest.fixture
def encoder(name) -> nn.Module:
    return build_small(name)


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


@torch.no_grad()
def test_state_dict_round_trip(name, encoder):
    other = build_small(name, seed=1)
    assert not torch.equal(other(images()).vector, encoder(images()).vector)
    other.load_state_dict(encoder.state_dict(), strict=True)
    assert torch.equal(other(images()).vector, encoder(images()).vector)
