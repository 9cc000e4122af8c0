"""Parts of U-Nets with a time: what is arranged for speed gives the same as the plain formulas."""

import pytest
import torch
from torch.nn import functional as F

from uir.layers import time_unet
from uir.layers.time_unet import (
    Block,
    GainNorm,
    LinearAttention,
    SinusoidalEmbedding,
    StandardisedConv2d,
    UpsampleConv,
)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_times_become_sines_and_cosines():
    got = SinusoidalEmbedding(6)(torch.tensor([0.0, 2.5]))
    rates = torch.tensor([1.0, 0.01, 0.0001])
    torch.testing.assert_close(got[1], torch.cat([(2.5 * rates).sin(), (2.5 * rates).cos()]))
    assert got[0].tolist() == [0, 0, 0, 1, 1, 1]


def test_weights_are_standardised_for_each_output_channel():
    conv, x = StandardisedConv2d(3, 4), torch.rand(1, 3, 5, 6)
    mean = conv.weight.mean((1, 2, 3), keepdim=True)
    variance = conv.weight.var((1, 2, 3), keepdim=True, unbiased=False)
    weight = (conv.weight - mean) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(conv(x), F.conv2d(x, weight, conv.bias, padding=1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("normed", [True, False])
def test_scale_and_shift_are_the_same_with_and_without_gradients(normed):
    block, x = Block(8, 8, normed), torch.rand(1, 8, 5, 6)
    film = (torch.randn(1, 8), torch.randn(1, 8))
    plain = block.proj(x) if block.norm is None else block.norm(block.proj(x))
    scale, shift = (part[:, :, None, None] for part in film)
    expected = F.silu(plain * (1 + scale) + shift)
    torch.testing.assert_close(block(x, film), expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(block(x, film), expected, atol=1e-5, rtol=1e-5)


def test_linear_attention_in_parts_is_that_of_the_formula(monkeypatch):
    attention, x = LinearAttention(6, heads=2, head_channels=4), torch.randn(2, 6, 7, 9)
    queries, keys, values = F.conv2d(x, attention.to_qkv.weight).flatten(2).unflatten(1, (3, 2, 4)).unbind(1)
    context = keys.softmax(-1) @ (values / 63).transpose(2, 3)
    attended = context.transpose(2, 3) @ queries.softmax(2) * 4**-0.5
    expected = attention.to_out(attended.flatten(1, 2).unflatten(2, (7, 9)))
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-4)
    for pixels in (10, 4096):
        monkeypatch.setattr(time_unet, "_PIXELS", pixels)
        with torch.no_grad():
            torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-4)


def test_large_keys_do_not_overflow_in_parts(monkeypatch):
    monkeypatch.setattr(time_unet, "_PIXELS", 8)
    attention = LinearAttention(4, heads=1, head_channels=4)
    with torch.no_grad():
        attention.to_qkv.weight.mul_(1000)
        assert attention(torch.randn(1, 4, 6, 6)).isfinite().all()


def test_enlarging_and_convolving_is_one_transposed_convolution():
    up, x = UpsampleConv(3, 5), torch.randn(2, 3, 33, 40)
    expected = up[1](up[0](x))
    assert expected.shape == (2, 5, 66, 80)
    with torch.no_grad():
        torch.testing.assert_close(up(x), expected, atol=1e-5, rtol=1e-5)


def test_a_gain_alone_scales_normalised_pixels():
    norm, x = GainNorm(5), torch.randn(1, 5, 2, 3)
    with torch.no_grad():
        norm.g.normal_()
    expected = F.layer_norm(x.permute(0, 2, 3, 1), (5,)).permute(0, 3, 1, 2) * norm.g
    torch.testing.assert_close(norm(x), expected)
