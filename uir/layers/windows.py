"""Attention within windows: dividing the tokens of a map into windows and back, position tables, masks.

Swin Transformer: Hierarchical Vision Transformer using Shifted Windows (Liu et al., ICCV 2021), section 3.2. Tokens
[B, H·W, C] are stored row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

MASKED = -100.0  # the published networks add this to the logits of pairs that must not attend to each other
_WINDOWS_AT_A_TIME = 32


@dataclass(frozen=True)
class WindowLayout:
    """The window of each token, for a batch of maps of one size. Created once for all blocks of a network.

    A gather by these tables is several times as fast as rolling and cutting a map. The windows that the seam of a shift
    crosses, the last ones of every row and column, come last, because only they need a mask.

    Attributes:
        order: [B·H·W], the token at each position of the windows.
        inverse: [B·H·W], the position of each token.
        batch: B.
        window: side of a window in pixels.
        mask: [windows with a seam, window², window²], or None if none is needed.
    """

    order: Tensor
    inverse: Tensor
    batch: int
    window: int
    mask: Tensor | None = None

    @classmethod
    def of(cls, shape: tuple[int, int, int], window: int, shift: int, masked: bool, like: Tensor) -> WindowLayout:
        """The layout of maps of one size.

        Args:
            shape: B, H and W of the maps.
            window: side of a window; it divides H and W.
            shift: number of pixels by which the windows move down and to the right, cyclically; below `window`.
            masked: whether to mask pairs of pixels that are neighbours only because of the cyclic shift.
            like: the mask gets its device and type.

        Raises:
            ValueError: `window` does not divide the sides.
        """
        batch, height, width = shape
        tokens = torch.arange(batch * height * width, device=like.device)
        rolled = tokens.view(batch, height, width).roll((-shift, -shift), (1, 2))
        order, mask = _cut(rolled, window), None
        if shift and masked:
            grid = torch.arange(order.shape[1], device=like.device).view(height // window, width // window)
            inner, seamed = grid[:-1, :-1].flatten(), torch.cat([grid[:-1, -1], grid[-1]])
            order = torch.cat([order[:, inner].flatten(), order[:, seamed].flatten()])
            mask = _keep_apart(_sides(height, width, window, shift, like.device)[seamed], like.dtype)
            mask = mask.repeat(batch, 1, 1)
        order = order.flatten()
        return cls(order, torch.empty_like(order).scatter_(0, order, tokens), batch, window, mask)

    def cut(self, tokens: Tensor) -> Tensor:
        """Tokens [B, H·W, C] to windows [windows, window², C]."""
        return _permute(tokens.flatten(0, 1), self.order, self.inverse).unflatten(0, (-1, self.window**2))

    def join(self, windows: Tensor) -> Tensor:
        """Windows [windows, window², C] to tokens [B, H·W, C]."""
        return _permute(windows.flatten(0, 1), self.inverse, self.order).unflatten(0, (self.batch, -1))


def relative_position_index(window: int, device: torch.device | None = None) -> Tensor:
    """Row of a (2·window - 1)² table for each pair of pixels of a window: int64 [window², window²].

    The table is ordered by the vertical, then by the horizontal offset of the first pixel from the second.
    """
    line = torch.arange(window, device=device)
    y, x = line.repeat_interleave(window), line.repeat(window)
    rows, columns = y[:, None] - y[None, :], x[:, None] - x[None, :]
    return (rows + window - 1) * (2 * window - 1) + columns + window - 1


def shifted_window_mask(height: int, width: int, window: int, shift: int, device: torch.device | None = None) -> Tensor:
    """The mask for pixels that only a cyclic shift made neighbours (section 3.2, Fig. 4), row by row.

    Args:
        height: height of the map, a multiple of `window`.
        width: width of the map, a multiple of `window`.
        window: side of a window.
        shift: number of pixels by which the map was rolled up and to the left; less than `window`.
        device: device of the mask.

    Returns:
        [windows of an image, window², window²]: 0 if two pixels were neighbours before the shift, else -100.

    Raises:
        ValueError: `window` does not divide the sides.
    """
    return _keep_apart(_sides(height, width, window, shift, device), torch.get_default_dtype())


def window_attention(
    qkv: Tensor,
    heads: int,
    scale: float | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """softmax(scale · q·kᵀ + bias + mask) · v within every window (paper Eq. 4).

    Args:
        qkv: [windows, N, 3C]: queries, keys and values, each of `heads` heads.
        heads: number of heads; it divides C.
        scale: default (C / heads)^-0.5.
        bias: [heads, N, N], the same in all windows.
        mask: [M, N, N], for the last M windows; the same in all heads.
        dropout: probability of dropping an attention weight.

    Returns:
        [windows, N, C].
    """
    bias = None if bias is None else bias[None]
    if mask is None:
        return _attend(qkv, heads, scale, bias, dropout)
    added = mask[:, None] if bias is None else bias + mask[:, None]
    free = qkv.shape[0] - mask.shape[0]
    if free == 0:
        return _attend(qkv, heads, scale, added, dropout)
    inner, seamed = qkv.split([free, mask.shape[0]])
    return torch.cat([_attend(inner, heads, scale, bias, dropout), _attend(seamed, heads, scale, added, dropout)])


def _attend(qkv: Tensor, heads: int, scale: float | None, added: Tensor | None, dropout: float) -> Tensor:
    """Attention with one tensor, [1 or windows, 1 or heads, N, N], added to the logits."""
    scale = (qkv.shape[2] // (3 * heads)) ** -0.5 if scale is None else scale
    if added is not None and added.requires_grad and torch.is_grad_enabled() and qkv.device.type == "cpu":
        # On a CPU, torch's fused attention has no gradient for the tensor added to the logits; its fallback is slower.
        # A few windows at a time fit into the cache.
        parts = qkv.split(_WINDOWS_AT_A_TIME)
        terms = added.split(_WINDOWS_AT_A_TIME) if len(added) > 1 else [added] * len(parts)
        pairs = zip(parts, terms, strict=True)
        return torch.cat([_attend_stepwise(part, heads, scale, term, dropout) for part, term in pairs])
    q, k, v = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    added = None if added is None else added.to(q.dtype)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=added, dropout_p=dropout, scale=scale)
    return attended.transpose(1, 2).flatten(2)


def _attend_stepwise(qkv: Tensor, heads: int, scale: float, added: Tensor, dropout: float) -> Tensor:
    """Attention, one operation after another."""
    q, k, v = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4).contiguous()
    logits = (q * scale) @ k.transpose(-2, -1)
    logits = logits.add_(added) if logits.dtype == added.dtype else logits + added
    attended = F.dropout(logits.softmax(-1), dropout).to(v.dtype) @ v
    return attended.transpose(1, 2).flatten(2)


def _cut(maps: Tensor, window: int) -> Tensor:
    """[B, H, W] to [B, windows, window²]."""
    batch, height, width = maps.shape
    if height % window or width % window:
        raise ValueError(f"a map of {height}×{width} cannot be divided into whole windows of {window}×{window}")
    grid = maps.view(batch, height // window, window, width // window, window)
    return grid.transpose(2, 3).reshape(batch, -1, window * window)


def _sides(height: int, width: int, window: int, shift: int, device: torch.device | None) -> Tensor:
    """The side of the seams of a rolled map on which each pixel lies: [windows, window²]."""
    below, right = (torch.arange(size, device=device) >= size - shift for size in (height, width))
    return _cut((2 * below[:, None] + 1 * right[None, :])[None], window)[0]


def _keep_apart(sides: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask [windows, N, N] of pixels on different sides."""
    return (sides[:, :, None] != sides[:, None, :]).to(dtype) * MASKED


def _permute(rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    if not (torch.is_grad_enabled() and rows.requires_grad):
        return rows.index_select(0, order)
    permuted: Tensor = _Permute.apply(rows, order, inverse)
    return permuted


class _Permute(torch.autograd.Function):
    """Rows in another order. The gradient is also a gather; that of `index_select` adds row by row."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        order, inverse = ctx.saved_tensors
        return _permute(gradient, inverse, order), None, None
