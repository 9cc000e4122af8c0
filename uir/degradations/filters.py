"""Kernels and filtering that several ops share."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def filter2d(image: Tensor, kernel: Tensor) -> Tensor:
    """Correlate every channel with one kernel under reflect padding.

    Args:
        image: [C, H, W] or [B, C, H, W], float32 or float64.
        kernel: [K, K] on the CPU, K odd; may be larger than the image.

    Returns:
        A tensor of the image's shape.
    """
    return filter_valid(reflect_pad(image, kernel.shape[-1] // 2), kernel)


def filter_valid(image: Tensor, kernel: Tensor) -> Tensor:
    """Correlate every channel with a [K, L] kernel without padding: [..., H, W] becomes [..., H-K+1, W-L+1].

    The image is shifted and summed once for each non-zero tap: made for lines and small kernels. On a CPU the bits then
    depend neither on the number of threads nor on the layout in memory, as those of an FFT do.
    """
    rows, columns = (length - side + 1 for length, side in zip(image.shape[-2:], kernel.shape, strict=True))
    total = torch.zeros_like(image[..., :rows, :columns], memory_format=torch.contiguous_format)
    for row, column in kernel.nonzero().tolist():
        shifted = image[..., row : row + rows, column : column + columns]
        total = total.add_(shifted, alpha=float(kernel[row, column]))
    return total


def reflect_pad(image: Tensor, pad: int) -> Tensor:
    """Reflect padding on all four sides (the edge pixel is not repeated), also wider than the image itself."""
    if pad < min(image.shape[-2:]):
        return F.pad(image, (pad, pad, pad, pad), mode="reflect")
    rows, columns = (_reflected_indices(length, pad).to(image.device) for length in image.shape[-2:])
    return image.index_select(-2, rows).index_select(-1, columns)


def _reflected_indices(length: int, pad: int) -> Tensor:
    period = max(2 * length - 2, 1)
    position = torch.arange(-pad, length + pad) % period
    return torch.minimum(position, (period - position) % period if length > 1 else position)


def line_kernel(length_px: float, angle_deg: float) -> Tensor:
    """An antialiased straight line through the centre of a [K, K] kernel that sums to 1.

    Each column (each row, for a steep line) spreads its weight over the two pixels nearest to the line, the nearer one
    taking more (Wu, SIGGRAPH 1991), so that the line is evenly bright at any angle; the ends fade over one pixel.
    A horizontal line of odd length is an exact box; length 1 is the identity.

    Args:
        length_px: length along the line, at least 1.
        angle_deg: counter-clockwise from the x axis as the image is seen (90 is vertical).
    """
    radius = math.ceil((length_px - 1) / 2)
    angle = math.radians(angle_deg)
    run, rise = math.cos(angle), -math.sin(angle)  # rows count downwards
    steep = abs(rise) > abs(run)
    if steep:
        run, rise = rise, run
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    along = (length_px * abs(run) / 2 - offsets.abs() + 0.5).clamp(0, 1)
    across = (1 - (offsets[:, None] - offsets[None, :] * (rise / run)).abs()).clamp(min=0)
    kernel = across * along
    kernel = kernel.T if steep else kernel
    return (kernel / kernel.sum()).float().contiguous()


def gaussian_kernel_1d(side: int, sigma_px: float) -> Tensor:
    """[side] Gaussian samples about the centre that sum to 1; `side` odd."""
    offsets = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    weights = torch.exp(-(offsets**2) / (2 * sigma_px**2))
    return (weights / weights.sum()).float()
