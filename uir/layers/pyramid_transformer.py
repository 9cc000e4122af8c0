"""Blocks of pyramid vision transformers: attention over tokens with fewer keys, on maps in channels-last order.

The blocks of PVT v2 and SegFormer (Wang et al., 2021; Xie et al., NeurIPS 2021), as TransWeather uses them. A map
[B, C, H, W] in channels-last order is its tokens [B, H·W, C] without a copy; that is why these are fast.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.drop_path import DropPath
from uir.layers.padding import pad_to_size


def tokens_of(x: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H·W, C]; no copy in channels-last order."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def map_of(tokens: Tensor, height: int, width: int) -> Tensor:
    """[B, H·W, C] to [B, C, H, W] in channels-last order; no copy."""
    return tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)


class TokenNorm(nn.LayerNorm):
    """Layer normalisation of every pixel of a map [B, C, H, W] over its channels, with `nn.LayerNorm`'s keys."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; the result is in channels-last order."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class OverlapPatchEmbed(nn.Module):
    """A strided convolution and a norm: [B, in, H, W] to [B, out, ⌈H/stride⌉, ⌈W/stride⌉].

    Args:
        in_channels, channels: in and out.
        kernel: odd side of the convolution.
        stride: its step.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2)
        self.norm = TokenNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Embed."""
        embedded: Tensor = self.norm(self.proj(x))
        return embedded


class ReducedAttention(nn.Module):
    """Attention of all pixels to a map that a strided convolution made smaller. Keeps [B, C, H, W].

    Args:
        channels: C, a multiple of `heads`.
        heads: number of heads.
        reduction: side of the squares of pixels that give one key; 1 for every pixel.
    """

    def __init__(self, channels: int, heads: int, reduction: int = 1) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"num_heads: {channels} channels cannot be divided into {heads} heads of equal size")
        self.heads, self.reduction = heads, reduction
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        if reduction > 1:
            self.sr = nn.Conv2d(channels, channels, reduction, reduction)
            self.norm = TokenNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        keys, values = self._keys_and_values(x)
        queries = self.q(tokens_of(x)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        return self._attend(queries, keys, values, x)

    def _keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Each [B, heads, M, C / heads]."""
        source = x
        if self.reduction > 1:  # a map smaller than one square is padded to it
            height, width = (max(side, self.reduction) for side in x.shape[-2:])
            source = self.norm(self.sr(pad_to_size(x, height, width, "replicate")))
        keys, values = self.kv(tokens_of(source)).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return keys, values

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, x: Tensor) -> Tensor:
        attended = F.scaled_dot_product_attention(queries, keys, values)
        return map_of(self.proj(attended.transpose(1, 2).flatten(2)), *x.shape[-2:])


class DepthwiseConv(nn.Module):
    """A depthwise 3×3 convolution under the key `dwconv`. Keeps [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        mapped: Tensor = self.dwconv(x)
        return mapped


class ConvFeedForward(nn.Module):
    """Two linear layers with a depthwise 3×3 convolution and a GELU between them. Keeps [B, C, H, W].

    Args:
        channels: C.
        hidden: width between the layers.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Widen, look around, narrow."""
        hidden = self.fc1(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        hidden = F.gelu(self.dwconv(hidden).permute(0, 2, 3, 1))
        narrowed: Tensor = self.fc2(hidden)
        return narrowed.permute(0, 3, 1, 2)


class PyramidBlock(nn.Module):
    """Attention and a feed-forward, both with norm, residual and stochastic depth. Keeps [B, C, H, W].

    Args:
        attention: the attention.
        channels: C.
        expansion: width of the feed-forward, as a multiple of C.
        drop_path: probability of leaving out a branch in training.
    """

    def __init__(self, attention: nn.Module, channels: int, expansion: float, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = TokenNorm(channels, eps=1e-6)
        self.attn = attention
        self.norm2 = TokenNorm(channels, eps=1e-6)
        self.mlp = ConvFeedForward(channels, int(channels * expansion))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))
