"""1×1 convolutions against torch's own."""

import pytest
import torch
from torch.nn import functional as F

from uir.layers.pointwise import PointwiseConv2d, pointwise


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(5, 7), (64, 64), (64, 65), (67, 63)])
def test_is_a_1x1_convolution_with_its_gradients(size, memory_format):
    x = torch.randn(2, 3, *size, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()
    weight, bias = torch.randn(4, 3, 1, 1, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    weight.requires_grad_()
    got, expected = pointwise(x, weight, bias), F.conv2d(x, weight, bias)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(
        torch.autograd.grad(got.square().sum(), [x, weight]), torch.autograd.grad(expected.square().sum(), [x, weight])
    )


def test_channels_last_stays_channels_last():
    x = torch.rand(1, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    assert PointwiseConv2d(3, 4)(x).is_contiguous(memory_format=torch.channels_last)


def test_has_the_keys_of_a_convolution():
    layer = PointwiseConv2d(3, 4, bias=False)
    torch.nn.Conv2d(3, 4, 1, bias=False).load_state_dict(layer.state_dict(), strict=True)
