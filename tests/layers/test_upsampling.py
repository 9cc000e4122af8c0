"""Upsamplers, and the short way through a linear tail."""

import pytest
import torch
from torch import nn

from uir.layers.degradation_code import DegradationCode
from uir.layers.upsampling import collapse_linear_tail, pixel_shuffle_upsampler, prime_factors, run_linear_tail
from uir.registry.components import build_network

DASR = {"type": "DASR", "scale": 4, "n_groups": 1, "n_blocks": 1, "n_feats": 8}
SWINIR = {
    "type": "SwinIR", "upscale": 4, "upsampler": "pixelshuffle", "embed_dim": 8, "depths": [1], "num_heads": [2],
    "window_size": 8, "img_size": 48, "num_feat": 8,
}  # fmt: skip


def make_tail(channels: int, scale: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(scale)
        return nn.Sequential(pixel_shuffle_upsampler(channels, scale), nn.Conv2d(channels, 3, 3, padding=1))


@pytest.mark.parametrize(("number", "factors"), [(1, []), (2, [2]), (4, [2, 2]), (12, [2, 2, 3]), (7, [7])])
def test_prime_factors(number, factors):
    assert prime_factors(number) == factors


@pytest.mark.parametrize("scale", [2, 3, 4, 5, 6, 8])
@torch.no_grad()
def test_the_short_way_gives_the_same_to_the_last_pixel(scale):
    tail, features = make_tail(4, scale).double(), torch.randn(2, 4, 49, 53, dtype=torch.float64)
    torch.testing.assert_close(run_linear_tail(tail, features, scale), tail(features))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_short_way_gives_the_same_gradients(scale):
    tail, features = make_tail(4, scale).double(), torch.randn(2, 4, 49, 53, dtype=torch.float64, requires_grad=True)
    wanted = [*tail.parameters(), features]
    target = torch.randn(2, 3, 49 * scale, 53 * scale, dtype=torch.float64)
    short = torch.autograd.grad((run_linear_tail(tail, features, scale) - target).square().sum(), wanted)
    whole = torch.autograd.grad((tail(features) - target).square().sum(), wanted)
    torch.testing.assert_close(short, whole)


class CountingConv(nn.Conv2d):
    """A convolution that notes how many pixels it has computed; a hook would make the tail take the long way."""

    pixels = 0

    def forward(self, input):
        self.pixels += input.shape[-2:].numel()
        return super().forward(input)


@pytest.mark.parametrize("learns", [False, True])
def test_the_short_way_is_taken_and_is_shorter(learns):
    tail, features = make_tail(4, 4).requires_grad_(learns), torch.randn(1, 4, 60, 60)
    tail[1] = CountingConv(4, 3, 3, padding=1)
    run_linear_tail(tail, features, 4)
    assert 0 < tail[1].pixels < 0.4 * 16 * 60 * 60


def test_a_hook_in_the_tail_sees_the_whole_image():
    seen = []
    tail, features = make_tail(4, 2), torch.randn(1, 4, 60, 60)
    tail[0].register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape[-2:]))
    run_linear_tail(tail, features, 2)
    assert seen == [(120, 120)]


@pytest.mark.parametrize(("spec", "last"), [(DASR, "add_mean"), (SWINIR, "conv_last")])
@torch.no_grad()
def test_a_network_gives_the_same_by_both_ways(spec, last):
    torch.manual_seed(0)
    network, lq = build_network(spec).eval(), torch.rand(1, 3, 48, 48)
    inputs = (lq, DegradationCode(vector=torch.randn(1, 256))) if spec is DASR else (lq,)
    short = network(*inputs)
    network.get_submodule(last).register_forward_hook(lambda *_: None)
    torch.testing.assert_close(short, network(*inputs), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_large_bias_does_not_drown_the_weights():
    tail = make_tail(4, 4)
    tail[1].bias.fill_(1e6)
    features = torch.zeros(1, 4, 5, 5)
    weight, bias = collapse_linear_tail(tail, features, 4)
    exact, _ = collapse_linear_tail(tail.double(), features.double(), 4)
    torch.testing.assert_close(weight.double(), exact, atol=1e-6, rtol=1e-5)
    assert bias.min() > 0.99e6


def test_a_scale_of_nothing_is_refused():
    with pytest.raises(ValueError, match="expected an integer of at least 1, got 0"):
        pixel_shuffle_upsampler(4, 0)
