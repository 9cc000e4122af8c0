"""A Swin block for inference on a CPU: a few windows pass through the whole block while they are in the cache.

Outside training nothing of a block has to be kept. So the windows are taken in groups: the queries, keys and values,
the logits and the hidden layer of a group stay in the cache, and the map is read and written once a block. oneDNN
computes the linear layers together with their biases, GELU and residuals. The weights are prepared again in every call,
which takes a hundredth of the time, so that a change of them is always seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers import onednn
from uir.layers.windows import WindowLayout

if TYPE_CHECKING:
    from uir.layers.swin import SwinTransformerBlock, WindowAttention

_BYTES_AT_A_TIME = 2**21
"""Of the queries, keys and values of a group of windows; in bfloat16 so many for each thread, because attention is
several of torch's operations there. Smaller groups cost more calls than they save."""
_ROUND_WIDTH = 16
"""Numbers in a register of 512 bits: heads whose width is a multiple are faster."""
_MOST_PADDING = 1.1
"""Heads are padded if they grow by no more than this factor; more costs more than it saves."""
_SAFE_SUM = 1e30
"""Sums of exponentials below this, and above its inverse, leave room for the products with the values: the largest
number of bfloat16 is 3e38."""


def can_fuse(block: SwinTransformerBlock, tokens: Tensor) -> bool:
    """Whether `fused_block` gives what a block gives for these tokens; see `onednn.can_use`."""
    return onednn.can_use(tokens, block.modules())


def fused_block(block: SwinTransformerBlock, tokens: Tensor, layout: WindowLayout) -> Tensor:
    """What `SwinTransformerBlock.forward` gives, in evaluation mode and without gradients: [B, H·W, C] to the same."""
    rows, pixels = tokens.flatten(0, 1), layout.window**2
    windows = layout.order.view(-1, pixels)
    free = len(windows) - (0 if layout.mask is None else len(layout.mask))  # the windows before the first mask
    restored, dtype = torch.empty_like(rows), onednn.compute_dtype(tokens)
    at_a_time = max(_bytes_at_a_time(dtype) // (3 * dtype.itemsize * pixels * rows.shape[1]), 1)
    with torch.autocast("cpu", enabled=False):
        step = _Step(block, dtype, at_a_time * pixels)
        for start, stop in _groups(free, len(windows), at_a_time):
            places = windows[start:stop].flatten()
            mask = None if layout.mask is None or start < free else layout.mask[start - free : stop - free]
            restored.index_copy_(0, places, step(rows.index_select(0, places), mask))
    return restored.view_as(tokens)


def _bytes_at_a_time(dtype: torch.dtype) -> int:
    return _BYTES_AT_A_TIME * (torch.get_num_threads() if dtype == torch.bfloat16 else 1)


def _groups(free: int, count: int, at_a_time: int) -> list[tuple[int, int]]:
    """Groups of windows; no group has windows both with and without a mask."""
    parts = ((0, free), (free, count))
    return [(start, min(start + at_a_time, end)) for begin, end in parts for start in range(begin, end, at_a_time)]


class _Step:
    """A block for one group of windows. Rows [windows·N, C] to the same shape.

    Args:
        block: the block.
        dtype: in which to compute; the residuals keep the type of the rows.
        rows: number of rows that come at a time.
    """

    def __init__(self, block: SwinTransformerBlock, dtype: torch.dtype, rows: int) -> None:
        self.norm1, self.norm2, self.dtype, self.heads = block.norm1, block.norm2, dtype, block.attn.heads
        attention = block.attn
        self.pixels = attention.window**2
        (weight, bias), proj = _padded(attention)
        self.counts = len(weight) > 3 * attention.qkv.in_features  # padded heads: their values have a channel of ones
        self.qkv = onednn.Linear(weight, bias, dtype, rows)
        self.proj = onednn.Linear(proj, attention.proj.bias, dtype, rows)
        first, second = (part for part in block.mlp if isinstance(part, nn.Linear))
        self.fc1 = onednn.Linear(first.weight, first.bias, dtype, rows)
        self.fc2 = onednn.Linear(second.weight, second.bias, dtype, rows)
        added = attention.position_bias()
        self.bias = None if added is None else added.to(dtype)[None]

    def __call__(self, rows: Tensor, mask: Tensor | None) -> Tensor:
        qkv = self.qkv(self.norm1(rows).to(self.dtype)).unflatten(0, (-1, self.pixels))
        added = self.bias if mask is None else mask.to(self.dtype)[:, None] + (0 if self.bias is None else self.bias)
        rows = self.proj.added_to(rows, self._attend(qkv, added).flatten(0, 1))
        return self.fc2.added_to(rows, self.fc1.gelu(self.norm2(rows).to(self.dtype)))

    def _attend(self, qkv: Tensor, added: Tensor | None) -> Tensor:
        """Attention [windows, N, 3C'] to [windows, N, C']; the queries are scaled already."""
        parts = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.dtype == torch.float32 or added is None:
            attended = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=added, scale=1.0)
        else:  # torch's fused attention computes in float32 here, and oneDNN's matrix products do not
            q, k, v = parts.contiguous().flatten(1, 2)
            attended = self._products(q, k, v, added).unflatten(0, (-1, self.heads))
        return attended.transpose(1, 2).flatten(2)

    def _products(self, queries: Tensor, keys: Tensor, values: Tensor, added: Tensor) -> Tensor:
        """Attention by products, [windows·heads, N, width] to the same shape.

        The values' last channel is 1 if `counts`: one product then gives the sums of the exponentials too, in less time
        than a softmax takes. Where these are too large or too small for a number, a softmax is taken.
        """
        if self.counts:
            sums = self._logits(queries, keys, added).exp_() @ values
            least, most = sums[..., -1].aminmax()
            if least > 1 / _SAFE_SUM and most < _SAFE_SUM:
                return sums.div_(sums[..., -1:].clone())
        return self._logits(queries, keys, added).softmax(-1) @ values

    def _logits(self, queries: Tensor, keys: Tensor, added: Tensor) -> Tensor:
        """[windows·heads, N, N]; `added` is of some or all windows, [1 or windows, 1 or heads, N, N]."""
        logits = added.new_empty(len(queries) // self.heads, self.heads, self.pixels, self.pixels)
        return logits.copy_(added).flatten(0, 1).baddbmm_(queries, keys.transpose(1, 2))


def _padded(attention: WindowAttention) -> tuple[tuple[Tensor, Tensor | None], Tensor]:
    """Weight and bias of the queries, keys and values, and the weight of the output, with heads of a round width.

    The queries' weights contain the factor of the logits. The added channels have no weight in the output; the last one
    of the values is 1.
    """
    heads = attention.heads
    width = attention.qkv.in_features // heads
    round_width = -(-width // _ROUND_WIDTH) * _ROUND_WIDTH
    more = round_width - width if round_width <= _MOST_PADDING * width else 0
    scale = width**-0.5 if attention.scale is None else attention.scale

    def padded(value: Tensor) -> Tensor:
        parts = value.detach().unflatten(0, (3, heads, width))
        scaled = torch.cat([parts[:1] * scale, parts[1:]])
        return F.pad(scaled, (0, 0) * (value.ndim - 1) + (0, more)).flatten(0, 2)

    proj = F.pad(attention.proj.weight.detach().unflatten(1, (heads, width)), (0, more)).flatten(1)
    weight = padded(attention.qkv.weight)
    bias = None if attention.qkv.bias is None else padded(attention.qkv.bias)
    if more:
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        bias.unflatten(0, (3, heads, round_width))[2, :, -1] = 1
    return (weight, bias), proj
