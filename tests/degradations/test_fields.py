"""Procedural fields."""

import pytest
import torch

from uir.core.seeds import torch_generator
from uir.degradations.fields import plasma, ramp, spread


@pytest.mark.parametrize("size", [(64, 48), (200, 300)])
def test_plasma_spans_0_1_and_is_smooth(size):
    field = plasma(size, torch_generator(3))
    assert field.shape == (1, *size)
    assert field.min() == 0
    assert field.max() == 1
    assert field.diff(dim=1).abs().max() < 0.2
    assert field.diff(dim=2).abs().max() < 0.2


def test_plasma_is_large_scale():
    field = plasma((128, 128), torch_generator(0))
    blocks = torch.nn.functional.avg_pool2d(field, 32)
    assert blocks.var() > 0.3 * field.var()


def test_ramp_rises_towards_the_top():
    field = ramp((5, 4), 0)[0]
    expected = torch.linspace(1, 0, 5)[:, None].expand(5, 4)
    torch.testing.assert_close(field, expected, rtol=0, atol=1e-6)


def test_ramp_turned_clockwise_rises_to_the_right():
    field = ramp((5, 4), 90)[0]
    torch.testing.assert_close(field, torch.linspace(0, 1, 4).expand(5, 4), rtol=0, atol=1e-6)


def test_spread_of_a_constant_is_zero():
    assert spread(torch.full((1, 3, 3), 0.7)).abs().max() == 0
