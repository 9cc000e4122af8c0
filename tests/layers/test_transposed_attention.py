"""Restormer's block against the formulas of the paper, operation by operation."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from uir.layers.transposed_attention import BiasFreeNorm2d, GatedFeedForward, TransformerBlock, TransposedAttention


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def randomized(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return layer.double()


def image(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def published_norm(x, layer):
    variance = x.var(1, correction=0, keepdim=True)
    centred = x if isinstance(layer, BiasFreeNorm2d) else x - x.mean(1, keepdim=True)
    scaled = centred / (variance + layer.eps).sqrt() * layer.weight.view(1, -1, 1, 1)
    return scaled if isinstance(layer, BiasFreeNorm2d) else scaled + layer.bias.view(1, -1, 1, 1)


def conv(x, layer):
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2, groups=layer.groups)


def published_attention(layer, x, activation):
    batch, channels, height, width = x.shape
    parts = conv(conv(x, layer.qkv), layer.qkv_dwconv).chunk(3, dim=1)
    queries, keys, values = (part.reshape(batch, layer.heads, -1, height * width) for part in parts)
    scores = F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).transpose(-2, -1) * layer.temperature
    attended = (activation(scores) @ values).reshape(batch, channels, height, width)
    return conv(attended, layer.project_out)


def published_feed_forward(layer, x):
    gate, passed = conv(conv(x, layer.project_in), layer.dwconv).chunk(2, dim=1)
    return conv(F.gelu(gate) * passed, layer.project_out)


def assert_same_with_gradients(layer, published, x):
    weight = torch.randn_like(x)
    inputs = [x.contiguous(memory_format=torch.channels_last), x]
    outputs = [layer(inputs[0]), published(inputs[1])]
    torch.testing.assert_close(*outputs)
    wanted = [x, *layer.parameters()]
    torch.testing.assert_close(*(torch.autograd.grad((out * weight).sum(), wanted) for out in outputs))
    with torch.no_grad():
        torch.testing.assert_close(layer(inputs[0]), outputs[1])


def test_bias_free_norm_keeps_the_mean_of_a_pixel():
    layer, x = randomized(BiasFreeNorm2d(5)), image(2, 5, 4, 3)
    assert_same_with_gradients(layer, lambda x: published_norm(x, layer), x)


def test_bias_free_norm_has_the_right_gradient_far_from_zero():
    layer = randomized(BiasFreeNorm2d(4))
    x = (10 + torch.randn(1, 4, 2, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, w: torch.func.functional_call(layer, {"weight": w}, (x,)), (x, layer.weight)
    )


def test_bias_free_norm_of_half_precision_is_computed_in_full():
    layer, x = BiasFreeNorm2d(6), 30 + torch.randn(1, 6, 4, 4)
    rough = layer(x.bfloat16())
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, layer(x.bfloat16().float()))


@pytest.mark.parametrize(("activation", "function"), [("softmax", lambda s: s.softmax(-1)), ("relu", F.relu)])
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("bias", [False, True])
def test_attention_is_the_papers(activation, function, heads, bias):
    layer = randomized(TransposedAttention(6, heads, bias, activation))
    assert_same_with_gradients(layer, lambda x: published_attention(layer, x, function), image(2, 6, 5, 7))


def test_attention_survives_channels_of_zeros():
    layer = TransposedAttention(4, 2)
    nn.init.zeros_(layer.qkv.weight)
    x = torch.randn(1, 4, 5, 6, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.isfinite().all()


def test_attention_does_not_overflow_in_half_precision():
    layer = TransposedAttention(4, 2).bfloat16()
    x = 1e18 * torch.randn(1, 4, 16, 16)
    assert layer(x.bfloat16()).isfinite().all()


def test_counted_on_the_meta_device_it_has_the_papers_shape():
    with torch.device("meta"):
        assert TransposedAttention(6, 3)(torch.empty(2, 6, 5, 7)).shape == (2, 6, 5, 7)


@pytest.mark.parametrize("bias", [False, True])
def test_feed_forward_is_the_papers(bias):
    layer = randomized(GatedFeedForward(4, 2.66, bias))
    assert layer.project_out.in_channels == 10
    assert_same_with_gradients(layer, lambda x: published_feed_forward(layer, x), image(2, 4, 5, 7))


@pytest.mark.parametrize("norm", ["WithBias", "BiasFree"])
@pytest.mark.parametrize("size", [(5, 7), (64, 32)])  # fewer pixels than are worth dealing out, and as many
def test_a_block_and_its_gradients_are_the_papers(norm, size):
    block = randomized(TransformerBlock(4, 2, 2.0, bias=True, norm=norm))

    def published(x):
        x = x + published_attention(block.attn, published_norm(x, block.norm1.body), lambda s: s.softmax(-1))
        return x + published_feed_forward(block.ffn, published_norm(x, block.norm2.body))

    assert_same_with_gradients(block, published, image(2, 4, *size))


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="6 channels cannot be divided into 4 heads"):
        TransposedAttention(6, 4)
    with pytest.raises(ValueError, match="LayerNorm_type: expected WithBias or BiasFree, got 'Batch'"):
        TransformerBlock(4, 1, 2.0, norm="Batch")
