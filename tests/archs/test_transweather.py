"""TransWeather: learned queries, the tail, published checkpoints, small images."""

import pytest
import torch
from torch.nn import functional as F

from uir.archs.transweather_arch import QueryAttention, TransWeather, TransWeatherBase, UpsampleConvolution
from uir.layers.pyramid_transformer import ReducedAttention

SMALL = {"embed_dims": [4, 4, 6, 8], "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2]}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_queries_are_learned_and_shared_by_neighbouring_pixels():
    attention, x = QueryAttention(8, 2, queries=3), torch.randn(2, 8, 2, 3)
    tokens = x.flatten(2).transpose(1, 2)
    queries = attention.q(attention.task_query)[:, [0, 0, 1, 1, 2, 2]].expand(2, -1, -1)
    keys, values = attention.kv(tokens).chunk(2, -1)
    heads = [
        torch.softmax(q @ k.transpose(1, 2) / 2, -1) @ v  # the root of 4 channels per head
        for q, k, v in zip(queries.chunk(2, -1), keys.chunk(2, -1), values.chunk(2, -1), strict=True)
    ]
    expected = attention.proj(torch.cat(heads, -1)).transpose(1, 2).unflatten(2, (2, 3))
    torch.testing.assert_close(attention(x), expected)


def test_attention_to_fewer_keys_takes_maps_smaller_than_one_square():
    attention = ReducedAttention(4, 1, reduction=4)
    assert attention(torch.randn(1, 4, 1, 3)).shape == (1, 4, 1, 3)


def test_a_transposed_convolution_enlarges():
    layer, x = UpsampleConvolution(3, 5), torch.randn(2, 3, 6, 7)
    expected = F.conv_transpose2d(x, layer.conv2d.weight, layer.conv2d.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x), expected)


def test_the_output_does_not_contain_the_image():
    network = TransWeather(**SMALL, decoder_heads=2)
    with torch.no_grad():
        network.clean.conv2d.weight.zero_()
        network.clean.conv2d.bias.fill_(0.5)
        restored = network(torch.rand(1, 3, 20, 40))
    torch.testing.assert_close(restored, torch.full((1, 3, 20, 40), 0.5).tanh())


@pytest.mark.parametrize(("network", "tail"), [(TransWeather, "convtail"), (TransWeatherBase, "convproj")])
def test_published_checkpoints_come_without_what_never_runs(network, tail):
    state = {
        f"module.{key}": torch.ones(1)
        for key in ("Tenc.mini_patch_embed4.norm.bias", f"{tail}.conv_output.conv2d.bias", "clean.conv2d.bias")
    }
    assert list(network.convert_state_dict(state)) == ["clean.conv2d.bias"]


@pytest.mark.parametrize("network", [TransWeather, TransWeatherBase])
def test_every_parameter_has_a_depth(network):
    with torch.device("meta"):
        net = network()
    names = [name for group in net.depths() for name in group]
    assert len(set(names)) == len(names)
    assert [key for key, _ in net.named_parameters() if not key.startswith(tuple(f"{name}." for name in names))] == []


def test_refuses_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"TransWeather\.depths: expected 4 numbers of at least 1, got \[1, 2\]"):
        TransWeather(depths=[1, 2])
    with pytest.raises(ValueError, match="num_heads: 6 channels cannot be divided into 4 heads"):
        TransWeather(embed_dims=[4, 4, 6, 8])
