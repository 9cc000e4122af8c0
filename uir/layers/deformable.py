"""Deformable convolution v2: a convolution with its own sampling positions for every pixel."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def modulated_deform_conv2d(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1,
    padding: int = 0, dilation: int = 1,
) -> Tensor:  # fmt: skip
    """Modulated deformable convolution (DCNv2, Zhu et al., CVPR 2019, Eq. 1), zeros outside the image.

    Args:
        x: [B, C, H, W].
        offset: [B, 2·k·k, h, w] in pixels: for each point of the kernel, row by row, the distance down and to the right
            from its regular position to its sample; samples are bilinear.
        mask: [B, k·k, h, w]; each sample is multiplied by it.
        weight: [K, C, k, k].
        bias: [K].
        stride, padding, dilation: as in a convolution.

    Returns:
        [B, K, h, w], with h and w as in a convolution.

    Raises:
        ValueError: offsets or mask do not have the output's size.
    """
    size = weight.shape[-1]
    height, width = x.shape[-2:]
    reach = dilation * (size - 1) + 1
    rows, columns = ((side + 2 * padding - reach) // stride + 1 for side in (height, width))
    for name, tensor, channels in (("offset", offset, 2 * size**2), ("mask", mask, size**2)):
        if tensor.shape != (x.shape[0], channels, rows, columns):
            raise ValueError(
                f"modulated_deform_conv2d: expected {name} [{x.shape[0]}, {channels}, {rows}, {columns}], "
                f"got {list(tensor.shape)}"
            )
    plain = x.device.type == "meta" or torch.compiler.is_compiling()
    compiled = None if plain else _torchvision_op()
    if compiled is not None:
        return compiled(x, offset, weight, bias, stride, padding, dilation, mask)
    samples = _sample(x, offset, mask, size, stride, padding, dilation)
    return F.conv2d(samples.flatten(1, 2), weight.reshape(weight.shape[0], -1, 1, 1), bias)


def _sample(x: Tensor, offset: Tensor, mask: Tensor, size: int, stride: int, padding: int, dilation: int) -> Tensor:
    """The samples of each point of the kernel: [B, C, k·k, h, w]."""
    batch, _, rows, columns = offset.shape
    # In half precision, positions would be wrong by whole pixels.
    exact = torch.promote_types(x.dtype, torch.float32)
    steps = torch.arange(size, device=x.device, dtype=exact) * dilation - padding
    regular = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).view(-1, 2, 1, 1)
    places = torch.stack(
        torch.meshgrid(
            torch.arange(rows, device=x.device, dtype=exact) * stride,
            torch.arange(columns, device=x.device, dtype=exact) * stride,
            indexing="ij",
        )
    )
    position = offset.to(exact).view(batch, -1, 2, rows, columns) + regular + places
    sides = torch.tensor(x.shape[-2:], device=x.device, dtype=exact).view(2, 1, 1)
    grid = ((2 * position + 1) / sides - 1).flip(2).permute(0, 1, 3, 4, 2)  # (x, y) in [-1, 1]
    sampled = F.grid_sample(x.to(exact), grid.flatten(1, 2), padding_mode="zeros", align_corners=False)
    return (sampled.unflatten(2, (-1, rows)) * mask[:, None]).to(x.dtype)


@functools.cache
def _torchvision_op() -> Callable[..., Tensor] | None:
    """torchvision's compiled operator, if it exists and runs."""
    from uir.compat import prepare

    prepare()
    try:
        from torchvision.ops import deform_conv2d

        one = torch.ones(1, 1, 1, 1)
        deform_conv2d(one, torch.zeros(1, 2, 1, 1), one, mask=one)
    except (ImportError, RuntimeError, AttributeError, NotImplementedError):
        return None
    return lambda x, offset, weight, bias, stride, padding, dilation, mask: deform_conv2d(
        x, offset.to(x.dtype), weight.to(x.dtype), bias, stride, padding, dilation, mask.to(x.dtype)
    )


class GuidedDeformConv2d(nn.Module):
    """3×3 deformable convolution of `x`; a convolution of `x` and a guide predicts its offsets and mask.

    Args:
        channels: C of x and of the result [B, C, H, W].
        guide_channels: channels of the guide [B, G, H, W].
        kernel_size: odd.
    """

    def __init__(self, channels: int, guide_channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.padding = kernel_size // 2
        self.weight = nn.Parameter(torch.empty(channels, channels, kernel_size, kernel_size))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.conv_offset_mask = nn.Conv2d(
            channels + guide_channels, 3 * kernel_size**2, kernel_size, padding=self.padding
        )
        for parameter in self.conv_offset_mask.parameters():
            nn.init.zeros_(parameter)  # so it starts as a plain convolution of half the strength

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """[B, channels, H, W] to the same shape."""
        points = self.weight.shape[-1] ** 2
        offset, mask = self.conv_offset_mask(torch.cat([x, guide], 1)).split([2 * points, points], 1)
        return modulated_deform_conv2d(x, offset, mask.sigmoid(), self.weight, padding=self.padding)
