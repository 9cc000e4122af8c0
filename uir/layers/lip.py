"""Local importance-based pooling (Gao et al., LIP, ICCV 2019): a mean whose weights are learned."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

COEFFICIENT = 12.0
"""The largest logit."""


def lip2d(x: Tensor, logit: Tensor, kernel: int = 3, stride: int = 2, padding: int = 1) -> Tensor:
    """The mean over windows with weights exp(logit), paper Eq. 4: [B, C, H, W] twice to [B, C, h, w].

    Padding has no weight, so equal logits give an average pooling that does not count it.
    """
    # Weights reach e¹², of which half precision keeps too few digits.
    weight = logit.float().exp()
    pooled = F.avg_pool2d(x * weight, kernel, stride, padding) / F.avg_pool2d(weight, kernel, stride, padding)
    return pooled.to(x.dtype)


class SoftGate(nn.Module):
    """12 · σ(x), which bounds the logits."""

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        return COEFFICIENT * torch.sigmoid(x)


class SimplifiedLIP(nn.Module):
    """LIP whose logits come from one convolution (paper Sec. 3.3). Keys are the authors'.

    [B, C, H, W] to half of the size, rounded up. It starts as an average pooling.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.zeros_(conv.weight)
        norm = nn.InstanceNorm2d(channels, affine=True)
        self.logit = nn.Sequential(OrderedDict(conv=conv, bn=norm, gate=SoftGate()))

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        return lip2d(x, self.logit(x))


class BottleneckLIP(nn.Module):
    """LIP whose logits come from a bottleneck of three convolutions (paper Sec. 3.3). Keys are the authors'.

    [B, C, H, W] to half of the size, rounded up. It starts as an average pooling.

    Args:
        channels: C.
        width: of the bottleneck; 128 as published.
    """

    def __init__(self, channels: int, width: int = 128) -> None:
        super().__init__()
        self.shared: Any = nn.Module()
        self.lip: Any = nn.Module()
        self.shared.logit = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(channels, width, 1, bias=False),
                bn1=nn.InstanceNorm2d(width, affine=True),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(width, width, 3, padding=1, bias=False),
                bn2=nn.InstanceNorm2d(width, affine=True),
                relu2=nn.ReLU(),
            )
        )
        conv = nn.Conv2d(width, channels, 1, bias=False)
        nn.init.zeros_(conv.weight)
        norm = nn.InstanceNorm2d(channels, affine=True)
        self.lip.postprocessing = nn.Sequential(OrderedDict(conv=conv, bn=norm, gate=SoftGate()))

    def forward(self, x: Tensor) -> Tensor:
        """Pool."""
        return lip2d(x, self.lip.postprocessing(self.shared.logit(x)))
