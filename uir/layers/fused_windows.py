"""A Swin block for inference on a CPU: a few windows pass through the whole block while they are in the cache.

Outside training nothing of a block has to be kept. So the windows are taken in groups: the queries, keys and values,
the logits and the hidden layer of a group stay in the cache, and the map is read and written once a block. oneDNN
computes the linear layers together with their biases, GELU and residuals. The weights are prepared again in every call,
which takes a hundredth of the time, so that a change of them is always seen.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import _get_current_dispatch_mode

from uir.layers.windows import WindowLayout

if TYPE_CHECKING:
    from uir.layers.swin import SwinTransformerBlock, WindowAttention

_BYTES_AT_A_TIME = 2**23
"""Of the queries, keys and values of a group of windows, as float32. Smaller groups cost more calls than they save."""
_ROUND_WIDTH = 16
"""Numbers in a register of 512 bits: heads whose width is a multiple are faster."""
_MOST_PADDING = 1.1
"""Heads are padded if they grow by no more than this factor; more costs more than it saves."""


def can_fuse(block: SwinTransformerBlock, tokens: Tensor) -> bool:
    """Whether `fused_block` gives what a block gives for these tokens.

    Not where gradients, dropout, hooks on a part of the block, or a tracer or counter that follows every operation need
    the parts of the block.
    """
    return (
        not torch.is_grad_enabled()
        and tokens.device.type == "cpu"
        and tokens.dtype in (torch.float32, torch.bfloat16)
        and _compute_dtype(tokens) in (torch.float32, torch.bfloat16)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and _get_current_dispatch_mode() is None
        and _has_onednn(_compute_dtype(tokens))
        and not any(map(_is_watched, block.modules()))
    )


def fused_block(block: SwinTransformerBlock, tokens: Tensor, layout: WindowLayout) -> Tensor:
    """What `SwinTransformerBlock.forward` gives, in evaluation mode and without gradients: [B, H·W, C] to the same."""
    rows, pixels = tokens.flatten(0, 1), layout.window**2
    windows = layout.order.view(-1, pixels)
    at_a_time = max(_BYTES_AT_A_TIME // (12 * pixels * rows.shape[1]), 1)
    free = len(windows) - (0 if layout.mask is None else len(layout.mask))  # the windows before the first mask
    restored, dtype = torch.empty_like(rows), _compute_dtype(tokens)
    with torch.autocast("cpu", enabled=False):
        step = _Step(block, dtype, at_a_time * pixels)
        for start, stop in _groups(free, len(windows), at_a_time):
            places = windows[start:stop].flatten()
            mask = None if layout.mask is None or start < free else layout.mask[start - free : stop - free]
            restored.index_copy_(0, places, step(rows.index_select(0, places), mask))
    return restored.view_as(tokens)


def _groups(free: int, count: int, at_a_time: int) -> list[tuple[int, int]]:
    """Groups of windows; no group has windows both with and without a mask."""
    parts = ((0, free), (free, count))
    return [(start, min(start + at_a_time, end)) for begin, end in parts for start in range(begin, end, at_a_time)]


def _compute_dtype(tokens: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else tokens.dtype


def _has_onednn(dtype: torch.dtype) -> bool:
    """Whether this torch has the fused layers, which it uses in compiled networks, for this processor."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return False
    names = ("_linear_pointwise", "_reorder_linear_weight", "_is_mkldnn_bf16_supported")
    if not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _is_watched(module: nn.Module) -> bool:
    """Whether a part of a block has dropout on, or a hook that must run."""
    return module.training or bool(module._forward_hooks or module._forward_pre_hooks)


class _Linear:
    """A linear layer in oneDNN's order of memory.

    Args:
        weight: [out, in].
        bias: [out].
        dtype: in which to compute.
        rows: number of rows that come at a time.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, rows: int) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype).contiguous(), rows)
        self.bias = None if bias is None else bias.detach().to(dtype).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        mapped: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return mapped

    def gelu(self, x: Tensor) -> Tensor:
        """The layer, then GELU."""
        mapped: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], "none")
        return mapped

    def added_to(self, residual: Tensor, x: Tensor) -> Tensor:
        """The layer's output added to a residual."""
        if residual.dtype != x.dtype:
            return residual + self(x)
        added: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")
        return added


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
        self.qkv = _Linear(weight, bias, dtype, rows)
        self.proj = _Linear(proj, attention.proj.bias, dtype, rows)
        first, second = (part for part in block.mlp if isinstance(part, nn.Linear))
        self.fc1 = _Linear(first.weight, first.bias, dtype, rows)
        self.fc2 = _Linear(second.weight, second.bias, dtype, rows)
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
            shape = (parts.shape[1], self.heads, -1, -1)
            logits = torch.baddbmm(added.expand(shape).flatten(0, 1), q, k.transpose(1, 2))
            attended = (logits.softmax(-1) @ v).unflatten(0, shape[:2])
        return attended.transpose(1, 2).flatten(2)


def _padded(attention: WindowAttention) -> tuple[tuple[Tensor, Tensor | None], Tensor]:
    """Weight and bias of the queries, keys and values, and the weight of the output, with heads of a round width.

    The queries' weights contain the factor of the logits; the added channels are zero and change nothing.
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

    proj = attention.proj.weight.detach().unflatten(1, (heads, width))
    bias = None if attention.qkv.bias is None else padded(attention.qkv.bias)
    return (padded(attention.qkv.weight), bias), F.pad(proj, (0, more)).flatten(1)
