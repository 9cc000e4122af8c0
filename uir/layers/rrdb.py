"""The residual-in-residual dense block of ESRGAN (Wang et al., ECCVW 2018, Fig. 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualDenseBlock(nn.Module):
    """Five 3×3 convolutions, each on all outputs before it; x + 0.2 · the last. [B, channels, H, W] to the same shape.

    Args:
        channels: C.
        growth: channels that each of the first four convolutions adds.
    """

    def __init__(self, channels: int = 64, growth: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(channels + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(channels + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(channels + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(channels + 4 * growth, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        features = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            features = torch.cat([features, F.leaky_relu(conv(features), 0.2)], 1)
        return x + 0.2 * self.conv5(features)


class RRDB(nn.Module):
    """Three dense blocks in a row; x + 0.2 · the last. [B, channels, H, W] to the same shape.

    Args:
        channels, growth: as in `ResidualDenseBlock`.
    """

    def __init__(self, channels: int = 64, growth: int = 32) -> None:
        super().__init__()
        self.RDB1 = ResidualDenseBlock(channels, growth)
        self.RDB2 = ResidualDenseBlock(channels, growth)
        self.RDB3 = ResidualDenseBlock(channels, growth)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        return x + 0.2 * self.RDB3(self.RDB2(self.RDB1(x)))
