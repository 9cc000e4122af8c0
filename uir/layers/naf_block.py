"""NAFNet's block: Simple Baselines for Image Restoration (Chen et al., ECCV 2022).

The results are the paper's, but the computation is arranged for speed: everything runs in channels-last order, and the
scale of a branch multiplies the weights of its last convolution instead of the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from uir.layers.fused_naf_block import can_fuse, fused_block
from uir.layers.local_pool import spread_edges
from uir.layers.norm import LayerNorm2d
from uir.layers.pointwise import PointwiseConv2d, pointwise


def simple_gate(x: Tensor) -> Tensor:
    """The product of the two halves of the channels: [B, 2C, H, W] to [B, C, H, W] (paper Eq. 4)."""
    first, second = x.chunk(2, dim=1)
    return first * second


def add_scaled(x: Tensor, branch: Tensor, conv: nn.Conv2d, scale: Tensor) -> Tensor:
    """x + scale · conv(branch) for a 1×1 convolution with bias and a scale [1, C, 1, 1]."""
    if conv.bias is None:
        raise ValueError("add_scaled: the convolution has no bias; build it with bias=True")
    branch = pointwise(branch, conv.weight * scale.view(-1, 1, 1, 1), conv.bias * scale.flatten())
    if torch.is_grad_enabled() or x.dtype != branch.dtype:
        return x + branch
    return branch.add_(x)  # the sum overwrites the branch, which nothing else uses


class NAFBlock(nn.Module):
    """Two gated residual branches, no activation (paper Fig. 3c). Input and output [B, channels, H, W].

    Args:
        channels: C.
        dw_expand: width of the depthwise branch before its gate, as a multiple of C; even.
        ffn_expand: width of the feed-forward branch before its gate, as a multiple of C; even.
    """

    def __init__(self, channels: int, dw_expand: int = 2, ffn_expand: int = 2) -> None:
        super().__init__()
        wide, gated = channels * dw_expand, channels * dw_expand // 2
        self.conv1 = PointwiseConv2d(channels, wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.conv3 = PointwiseConv2d(gated, channels)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(gated, gated, 1))
        self.conv4 = PointwiseConv2d(channels, channels * ffn_expand)
        self.conv5 = PointwiseConv2d(channels * ffn_expand // 2, channels)
        self.norm1 = LayerNorm2d(channels)
        self.norm2 = LayerNorm2d(channels)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """One block; fastest in channels-last order."""
        if can_fuse(self, x):
            return fused_block(self, x)
        branch = simple_gate(self.conv2(self.conv1(self.norm1(x))))
        x = add_scaled(x, branch * self._attention(branch), self.conv3, self.beta)
        branch = simple_gate(self.conv4(self.norm2(x)))
        return add_scaled(x, branch, self.conv5, self.gamma)

    def _attention(self, branch: Tensor) -> Tensor:
        """Simplified channel attention (paper Eq. 5): [B, C, 1, 1], or one value per pixel with local pooling."""
        attention = self.sca(branch)
        if attention.shape[-2:] == (1, 1):
            return attention
        # A 1×1 convolution and repeating edges commute; in this order the convolution computes fewer pixels.
        return spread_edges(attention, branch.shape[-2], branch.shape[-1])
