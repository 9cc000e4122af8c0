"""Transformer blocks of shifted windows: Swin Transformer (Liu et al., ICCV 2021), section 3, for maps of any size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from uir.layers.drop_path import DropPath
from uir.layers.fused_windows import can_fuse, fused_block
from uir.layers.windows import WindowLayout, relative_position_index, window_attention


class WindowAttention(nn.Module):
    """Multi-head attention within windows. [windows, window², C] to the same shape.

    Args:
        channels: C.
        heads: number of heads; it divides C.
        window: side of a window in pixels.
        qkv_bias: whether queries, keys and values have a bias.
        qk_scale: factor of the logits; default (C / heads)^-0.5.
        rel_pos_bias: whether a learned value is added to the logits for each offset between two pixels.
        attn_drop: dropout of the attention's weights.
        proj_drop: dropout of the output.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        window: int,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        rel_pos_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.heads, self.window, self.scale, self.attn_drop = heads, window, qk_scale, attn_drop
        self.relative_position_bias_table: nn.Parameter | None = None
        if rel_pos_bias:
            self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
            nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
            self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend; `mask` [M, window², window²] is added to the logits of the last M windows."""
        dropout = self.attn_drop if self.training else 0.0
        attended = window_attention(self.qkv(windows), self.heads, self.scale, self.position_bias(), mask, dropout)
        return self.proj_drop(self.proj(attended))

    def position_bias(self) -> Tensor | None:
        """What is added to the logits of every window, [heads, window², window²]; None without a table."""
        if self.relative_position_bias_table is None:
            return None
        return self.relative_position_bias_table[self.get_buffer("relative_position_index")].permute(2, 0, 1)


class SwinTransformerBlock(nn.Module):
    """Attention within windows, then a perceptron for every pixel, both residual. Tokens [B, H·W, C] to the same shape.

    Args:
        channels: C.
        heads: number of attention heads.
        window: side of a window in pixels.
        shifted: whether the windows are the shifted ones.
        mlp_ratio: width of the perceptron's hidden layer, as a multiple of C.
        drop: dropout after the linear layers.
        drop_path: probability of leaving a residual out.
        **attention: further arguments of `WindowAttention`.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        window: int,
        shifted: bool,
        mlp_ratio: float,
        drop: float = 0.0,
        drop_path: float = 0.0,
        **attention: Any,
    ) -> None:
        super().__init__()
        self.shifted = shifted
        hidden = int(channels * mlp_ratio)
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, window, proj_drop=drop, **attention)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(channels, hidden),
                act=nn.GELU(),
                drop1=nn.Dropout(drop),
                fc2=nn.Linear(hidden, channels),
                drop2=nn.Dropout(drop),
            )
        )

    def forward(self, tokens: Tensor, layouts: tuple[WindowLayout, WindowLayout]) -> Tensor:
        """One block; `layouts` are those of the regular and of the shifted windows."""
        layout = layouts[self.shifted]
        if can_fuse(self, tokens):
            return fused_block(self, tokens, layout)
        windows = self.attn(layout.cut(self.norm1(tokens)), layout.mask)
        tokens = tokens + self.drop_path(layout.join(windows))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class BasicLayer(nn.Module):
    """A sequence of blocks. Tokens [B, H·W, C] to the same shape.

    Args:
        blocks: the blocks; every second one has shifted windows.
        use_checkpoint: compute a block's activations again in the backward pass instead of storing them.
    """

    def __init__(self, blocks: Sequence[SwinTransformerBlock], use_checkpoint: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.use_checkpoint = use_checkpoint

    def forward(self, tokens: Tensor, layouts: tuple[WindowLayout, WindowLayout]) -> Tensor:
        """All blocks."""
        for block in self.blocks:
            if self.use_checkpoint:
                tokens = checkpoint(block, tokens, layouts, use_reentrant=False)
            else:
                tokens = block(tokens, layouts)
        return tokens
