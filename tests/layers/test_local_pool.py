"""Local pooling against torch's average pooling."""

import pytest
import torch
from torch.nn import functional as F

from uir.layers.local_pool import LocalAvgPool2d, spread_edges


@pytest.mark.parametrize(("window", "kernel"), [((4, 7), (4, 7)), ((30, 5), (11, 5)), ((3, 40), (3, 16))])
def test_gives_the_mean_of_every_window(window, kernel):
    x = torch.rand(2, 3, 11, 16)
    torch.testing.assert_close(LocalAvgPool2d(window)(x), F.avg_pool2d(x, kernel, stride=1))


def test_a_window_that_covers_the_map_pools_all_of_it():
    x = torch.rand(2, 3, 11, 16)
    torch.testing.assert_close(LocalAvgPool2d((11, 20))(x), x.mean((2, 3), keepdim=True))


def test_bf16_maps_are_summed_in_float32():
    x = torch.rand(1, 2, 100, 100).bfloat16()
    expected = F.avg_pool2d(x.float(), 50, stride=1)
    torch.testing.assert_close(LocalAvgPool2d((50, 50))(x).float(), expected, atol=4e-3, rtol=0)


@pytest.mark.parametrize("size", [(60, 64), (61, 63)])  # shrunk by 5 and 4; by 1 and 3
def test_fast_pooling_is_near_the_exact(size):
    x = torch.rand(1, 2, *size, generator=torch.Generator().manual_seed(0))
    exact, fast = LocalAvgPool2d((24, 20))(x), LocalAvgPool2d((24, 20), fast=True)(x)
    assert fast.shape[-1] <= size[1]
    torch.testing.assert_close(spread_edges(fast, *size), spread_edges(exact, *size), atol=0.04, rtol=0)


def test_edges_are_spread_evenly_the_odd_line_last():
    pooled = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    spread = spread_edges(pooled, 4, 5)
    assert spread[0, 0, :, 0].tolist() == [1, 1, 3, 3]
    assert spread[0, 0, 0].tolist() == [1, 1, 2, 2, 2]


def test_a_map_of_full_size_stays_as_it_is():
    pooled = torch.rand(1, 1, 3, 3)
    assert spread_edges(pooled, 3, 3) is pooled
