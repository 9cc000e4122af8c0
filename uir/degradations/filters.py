"""Filters that several ops share.

torch is the reference. CPU images in float32 are filtered by OpenCV, which is several times as fast and within 1e-4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from uir.degradations.opencv_filters import filter_planes


def filter2d(image: Tensor, kernel: Tensor) -> Tensor:
    """Correlate every channel with one kernel under reflect padding.

    Args:
        image: [C, H, W] or [B, C, H, W], float32 or float64.
        kernel: [K, K] on the CPU, K odd; may be larger than the image.

    Returns:
        A tensor of the image's shape.
    """
    pad = kernel.shape[-1] // 2
    if opencv_serves(image) and pad < min(image.shape[-2:]):
        return _through_opencv(image, kernel)
    return filter_valid(reflect_pad(image, pad), kernel)


def filter2d_each(images: Tensor, kernels: list[Tensor]) -> Tensor:
    """Correlate each image of a batch with its own kernel under reflect padding.

    One grouped convolution on devices other than the CPU.

    Args:
        images: [B, C, H, W], float32 or float64.
        kernels: B kernels [K, K] on the CPU, each K odd.
    """
    if images.device.type == "cpu":
        return torch.stack([filter2d(image, kernel) for image, kernel in zip(images, kernels, strict=True)])
    side = max(kernel.shape[-1] for kernel in kernels)
    stacked = torch.stack([F.pad(kernel, [(side - kernel.shape[-1]) // 2] * 4) for kernel in kernels])
    return filter_grouped(reflect_pad(images, side // 2), stacked)


def filter_valid(image: Tensor, kernel: Tensor) -> Tensor:
    """Correlate every channel with a [K, L] kernel without padding: [..., H, W] becomes [..., H-K+1, W-L+1].

    On the CPU the reference shifts and sums the image once for each non-zero tap (kernel value). Unlike with a
    convolution, its bits depend neither on the number of threads nor on the memory layout. Other devices use a
    convolution.
    """
    rows, columns = (length - side + 1 for length, side in zip(image.shape[-2:], kernel.shape, strict=True))
    if opencv_serves(image):
        top, left = (side // 2 for side in kernel.shape)
        return _through_opencv(image, kernel)[..., top : top + rows, left : left + columns].contiguous()
    if image.device.type != "cpu":
        return filter_grouped(image.reshape(1, -1, *image.shape[-2:]), kernel[None]).reshape(
            *image.shape[:-2], rows, columns
        )
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


def opencv_serves(image: Tensor) -> bool:
    """Whether OpenCV can be used: a float32 image on the CPU that needs no gradient."""
    return image.device.type == "cpu" and image.dtype == torch.float32 and not image.requires_grad


def _through_opencv(image: Tensor, kernel: Tensor) -> Tensor:
    planes = image.contiguous().reshape(-1, *image.shape[-2:]).numpy()
    return torch.from_numpy(filter_planes(planes, kernel.double().numpy())).reshape(image.shape)


def filter_grouped(images: Tensor, kernels: Tensor) -> Tensor:
    """Filter [B, C, H, W] by [B, K, L] without padding, all planes in one grouped convolution."""
    count, channels, height, width = images.shape
    weights = kernels.to(images).repeat_interleave(channels, 0)[:, None]
    planes = images.reshape(1, count * channels, height, width)
    filtered = F.conv2d(planes, weights, groups=count * channels)
    return filtered.reshape(count, channels, *filtered.shape[-2:])


def _reflected_indices(length: int, pad: int) -> Tensor:
    period = max(2 * length - 2, 1)
    position = torch.arange(-pad, length + pad) % period
    return torch.minimum(position, (period - position) % period if length > 1 else position)
