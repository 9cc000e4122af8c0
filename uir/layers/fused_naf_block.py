"""NAFNet's block for inference on a CPU: a part of the map passes through half of the block while it is in the cache.

Outside training nothing of a block has to be kept. The channel attention needs the mean over the whole map, so there
are two passes: from the input to the first gate, and from there to the output. In each, the wide maps of a part stay in
the cache. oneDNN computes the 1×1 convolutions together with their biases and residuals.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers import onednn
from uir.layers.global_statistic import OutputHook
from uir.layers.norm import LayerNorm2d

if TYPE_CHECKING:
    from uir.layers.naf_block import NAFBlock

_BYTES_AT_A_TIME = 2**21
"""Of a part of the block's input. A smaller input is in the cache anyway."""
_FEWEST_ROWS = 16
"""Of a part that is smaller than the map. The depthwise convolution needs one more on each side, computed twice."""

Part = tuple[slice, slice, slice]  # images, rows, columns


def can_fuse(block: NAFBlock, x: Tensor) -> bool:
    """Whether `fused_block` gives what a block gives for this input, and faster; see `onednn.can_use`.

    Not where the pooling is local, or has a hook that needs the map.
    """
    pool = block.sca[0]
    if not isinstance(pool, nn.AdaptiveAvgPool2d):
        return False
    hooks = (*pool._forward_pre_hooks.values(), *pool._forward_hooks.values())
    if not all(isinstance(hook, OutputHook) for hook in hooks):
        return False
    # The size comes last: an exporter of variable sizes must not meet a condition on them.
    return onednn.can_use(x, (part for part in block.modules() if part is not pool)) and x.nbytes > _BYTES_AT_A_TIME


def fused_block(block: NAFBlock, x: Tensor) -> Tensor:
    """What `NAFBlock.forward` gives, in evaluation mode and without gradients: [B, C, H, W] to the same."""
    dtype = onednn.compute_dtype(x)
    pixels = x.permute(0, 2, 3, 1).contiguous()
    with torch.autocast("cpu", enabled=False):
        gated, means = _first_half(block, pixels, dtype)
    means = block.sca[0](means).to(dtype).expand_as(means)  # a hook may replace them; the mean of a mean is the mean
    with torch.autocast("cpu", enabled=False):
        restored = _second_half(block, pixels, gated, means)
    return restored.permute(0, 3, 1, 2)


def _first_half(block: NAFBlock, pixels: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Pixels [B, H, W, C] to the gated branch [B, H, W, C'] and its means [B, C', 1, 1]."""
    height, width = pixels.shape[1:3]
    parts = _parts(pixels)
    conv1 = _linear(block.conv1, dtype, pixels, parts)
    weight, bias = _values(block.conv2, dtype)
    gated = pixels.new_empty(*pixels.shape[:3], block.conv3.in_channels, dtype=dtype)
    sums = pixels.new_zeros(len(pixels), block.conv3.in_channels, dtype=torch.float32)
    for images, rows, columns in parts:
        (near_rows, inner_rows), (near_columns, inner_columns) = _near(rows, height), _near(columns, width)
        near = _norm(block.norm1, pixels[images, near_rows, near_columns]).to(dtype)
        wide = conv1(near.flatten(0, 2)).view(*near.shape[:3], -1).permute(0, 3, 1, 2)
        wide = F.conv2d(wide, weight, bias, padding=1, groups=block.conv2.groups).permute(0, 2, 3, 1)
        part = gated[images, rows, columns]
        torch.mul(*wide[:, inner_rows, inner_columns].chunk(2, -1), out=part)
        sums[images] += part.sum((1, 2), dtype=torch.float32)
    return gated, (sums / (height * width)).to(dtype)[:, None, None].permute(0, 3, 1, 2)


def _second_half(block: NAFBlock, pixels: Tensor, gated: Tensor, means: Tensor) -> Tensor:
    """Pixels [B, H, W, C], gated branch [B, H, W, C'] and its means [B, C', 1, 1] to pixels [B, H, W, C]."""
    weight, bias = _values(cast(nn.Conv2d, block.sca[1]), gated.dtype)
    attention = F.linear(means.flatten(1), weight.flatten(1), bias)[:, None, None]
    lines, branches = (value.flatten(1, 2)[:, :, None] for value in (pixels, gated))  # [B, H·W, 1, C]
    parts = _parts(lines)
    conv3, conv4, conv5 = (
        _linear(conv, gated.dtype, lines, parts, scale)
        for conv, scale in ((block.conv3, block.beta), (block.conv4, None), (block.conv5, block.gamma))
    )
    dtype, restored = torch.promote_types(lines.dtype, gated.dtype), branches
    if branches.shape != lines.shape or branches.dtype != dtype:  # else a part of the output overwrites the branch's
        restored = torch.empty_like(lines, dtype=dtype)
    for images, places, _ in parts:
        branch = branches[images, places].mul_(attention[images])
        x = conv3.added_to(lines[images, places].flatten(0, 2), branch.flatten(0, 2))
        wide = conv4(_norm(block.norm2, x).to(gated.dtype))
        first, second = wide.chunk(2, -1)
        part = restored[images, places]
        part.copy_(conv5.added_to(x, first * second).view_as(part))
    return restored.view(*pixels.shape)


def _norm(norm: LayerNorm2d, pixels: Tensor) -> Tensor:
    return F.layer_norm(pixels, norm.weight.shape, norm.weight, norm.bias, norm.eps)


def _values(conv: nn.Conv2d, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight and bias; every convolution of a block has a bias."""
    return conv.weight.detach().to(dtype), cast(Tensor, conv.bias).detach().to(dtype)


def _linear(
    conv: nn.Conv2d, dtype: torch.dtype, pixels: Tensor, parts: list[Part], scale: Tensor | None = None
) -> onednn.Linear:
    """A 1×1 convolution, its output times a scale [1, C, 1, 1]."""
    weight, bias = _values(conv, conv.weight.dtype)
    if scale is not None:
        weight, bias = weight * scale.detach().view(-1, 1, 1, 1), bias * scale.detach().flatten()
    return onednn.Linear(weight.flatten(1), bias, dtype, pixels[parts[0]][..., 0].numel(), len(parts))


def _parts(pixels: Tensor) -> list[Part]:
    """Parts of pixels [B, H, W, C]: some images, or of one image some rows, or of wide rows some columns."""
    batch, height, width, channels = pixels.shape
    at_a_time = max(_BYTES_AT_A_TIME // (channels * pixels.element_size()), 1)
    images = max(at_a_time // (height * width), 1)
    rows = min(max(at_a_time // width, _FEWEST_ROWS), height)
    columns = max(at_a_time // rows, _FEWEST_ROWS)
    return list(product(_cuts(batch, images), _cuts(height, rows), _cuts(width, columns)))


def _cuts(length: int, most: int) -> list[slice]:
    """Cuts of about the same length, none longer than `most`."""
    count = -(-length // most)
    return [slice(index * length // count, (index + 1) * length // count) for index in range(count)]


def _near(part: slice, length: int) -> tuple[slice, slice]:
    """A part with its neighbours, and the part's place in it."""
    start, stop = max(part.start - 1, 0), min(part.stop + 1, length)
    return slice(start, stop), slice(part.start - start, part.stop - start)
