"""Layer normalisation over channels."""

import pytest
import torch

from uir.layers.norm import LayerNorm2d


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalises_every_pixel_over_its_channels(memory_format):
    layer = LayerNorm2d(5).double()
    with torch.no_grad():
        layer.weight.copy_(torch.rand(5))
        layer.bias.copy_(torch.rand(5))
    x = torch.randn(2, 5, 4, 3, dtype=torch.float64).contiguous(memory_format=memory_format)
    scaled = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-6).sqrt()
    expected = scaled * layer.weight.view(1, 5, 1, 1) + layer.bias.view(1, 5, 1, 1)
    torch.testing.assert_close(layer(x), expected)
