"""1×1 convolutions: most of the arithmetic in most restorers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# On one CPU thread, torch computes a 1×1 convolution of fewer than 16 images by a plain matrix product. That fills the
# output with the bias first, and can take 1.5 times as long as oneDNN on large maps of few channels. A 1×1 convolution
# treats every pixel alike, so the pixels are regrouped into 16 images, which oneDNN computes. Small maps gain nothing.
_IMAGES, _FEWEST_PIXELS = 16, 1024


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """1×1 convolution: [B, C, H, W] with weight [K, C, 1, 1] and bias [K] gives [B, K, H, W].

    Fast if `x` is in channels-last order; the result is then in that order too.
    """
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    dealt_out = (
        x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and pixels >= _FEWEST_PIXELS
        and pixels % _IMAGES == 0
        and x.is_contiguous(memory_format=torch.channels_last)
    )
    if not dealt_out:
        return F.conv2d(x, weight, bias)
    images = x.permute(0, 2, 3, 1).reshape(_IMAGES, 1, pixels // _IMAGES, x.shape[1]).permute(0, 3, 1, 2)
    mapped = F.conv2d(images, weight, bias).permute(0, 2, 3, 1)
    return mapped.reshape(x.shape[0], x.shape[2], x.shape[3], -1).permute(0, 3, 1, 2)


class PointwiseConv2d(nn.Conv2d):
    """A 1×1 `nn.Conv2d` that uses `pointwise`: same parameters and keys. [B, in, H, W] to [B, out, H, W]."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map every pixel's channels."""
        return pointwise(x, self.weight, self.bias)
