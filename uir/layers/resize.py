"""MATLAB's `imresize`, with its antialiasing, and OpenCV's `resize`, for tensors.

Low-resolution images in the super-resolution literature are made with MATLAB's function. OpenCV's function and
`torch.nn.functional.interpolate` treat the border differently and use another cubic kernel (a = -0.75).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def imresize(
    image: Tensor,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    antialias: bool = True,
    method: str = "bicubic",
) -> Tensor:
    """Resize as MATLAB's `imresize` does. Differentiable; the two dimensions are filtered one after the other.

    Args:
        image: float [..., H, W], usually [C, H, W] or [B, C, H, W].
        scale: output over input size; the output is [ceil(H·scale), ceil(W·scale)].
        size: output (height, width) in pixels, instead of `scale`.
        antialias: widen the kernel when an axis shrinks, so that every input pixel counts.
        method: `bicubic` (Keys 1981, a = -0.5) or `bilinear` (the triangle kernel).

    Returns:
        [..., height, width], not clipped: bicubic overshoots at edges. Half-precision images are filtered in float32.

    Raises:
        ValueError: the image is not float, not exactly one of `scale` and `size` is set, it is not positive, or
            `method` is unknown.
    """
    if image.ndim < 2 or not image.is_floating_point():
        raise ValueError(
            f"imresize: expected a float image [..., H, W], got {image.dtype} {list(image.shape)}; "
            "convert integer images to float first"
        )
    if method not in _KERNELS:
        raise ValueError(f"imresize: method must be one of {', '.join(_KERNELS)}, got {method!r}")
    height, width = image.shape[-2:]
    (out_height, scale_height), (out_width, scale_width) = _target(height, width, scale, size)
    working = image if image.dtype in (torch.float32, torch.float64) else image.float()
    # The smaller scale first, as in MATLAB: this leaves fewer pixels for the second pass.
    passes = [(-2, height, out_height, scale_height), (-1, width, out_width, scale_width)]
    for dim, length, out_length, axis_scale in sorted(passes, key=lambda axis: axis[3]):
        working = _resize_axis(working, dim, *_contributions(length, out_length, axis_scale, antialias, method))
    return working.to(image.dtype)


def resample(image: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Resize as OpenCV's `resize` does, without antialiasing except for `area`; the edge pixel continues outside.

    `area` is the exact mean over the area of an output pixel for all sizes, for shrinking and enlarging; torch's mode
    of that name rounds the ends to whole pixels.

    Args:
        image: float32 or float64 [C, H, W] or [B, C, H, W].
        size: output (height, width) in pixels.
        mode: `area`, `bilinear`, `bicubic` (Keys 1981, a = -0.75) or `lanczos` (four lobes).

    Returns:
        [..., height, width], not clipped: bicubic and Lanczos overshoot at edges.

    Raises:
        ValueError: `mode` is unknown.
    """
    if mode in ("bilinear", "bicubic"):
        batch = image.contiguous().reshape(-1, 1, *image.shape[-2:])
        return F.interpolate(batch, size=size, mode=mode).reshape(*image.shape[:-2], *size)
    if mode not in _CONTRIBUTIONS:
        raise ValueError(f"resample: mode must be area, bilinear, bicubic or lanczos, got {mode!r}")
    for dim in (-2, -1):
        image = _resize_axis(image, dim, *_CONTRIBUTIONS[mode](image.shape[dim], size[dim]))
    return image


def _target(
    height: int, width: int, scale: float | None, size: tuple[int, int] | None
) -> tuple[tuple[int, float], tuple[int, float]]:
    """Output length and scale of each axis."""
    if (scale is None) == (size is None):
        raise ValueError(f"imresize: give either scale or size, got scale={scale}, size={size}")
    if scale is not None:
        if not (scale > 0 and math.isfinite(scale)):
            raise ValueError(f"imresize: scale must be a positive number, got {scale}")
        return (math.ceil(height * scale), scale), (math.ceil(width * scale), scale)
    if size is None or len(size) != 2 or min(size) < 1:
        raise ValueError(f"imresize: size must be (height, width) of at least 1 pixel each, got {size}")
    return (size[0], size[0] / height), (size[1], size[1] / width)


def _resize_axis(image: Tensor, dim: int, weights: np.ndarray, indices: np.ndarray) -> Tensor:
    """Weighted sum of the input lines that contribute to each output line.

    Args:
        weights: float64 [taps, out_length].
        indices: int64 [taps, out_length].
    """
    if dim == -1:  # gathering whole lines of memory is many times as fast as gathering single pixels
        return _resize_axis(image.transpose(-1, -2).contiguous(), -2, weights, indices).transpose(-1, -2).contiguous()
    # The cache stores numpy arrays: a tensor made under inference_mode could never be used in a backward pass later.
    taps = torch.tensor(weights, dtype=image.dtype, device=image.device)[..., None]
    lines = torch.tensor(indices, device=image.device)
    resized = image.index_select(-2, lines[0]) * taps[0]
    for tap, line in zip(taps[1:], lines[1:], strict=True):
        resized.addcmul_(image.index_select(-2, line), tap)
    return resized


@lru_cache(maxsize=256)
def _contributions(
    length: int, out_length: int, scale: float, antialias: bool, method: str
) -> tuple[np.ndarray, np.ndarray]:
    """The input pixels and their weights for each output pixel, along one axis."""
    kernel, support = _KERNELS[method]
    stretch = min(scale, 1.0) if antialias else 1.0  # the kernel of a shrinking axis is widened by 1/scale
    support = support / stretch
    taps = math.ceil(support) + 2
    # Centre of each output pixel in input coordinates, pixel centres on whole numbers from 0.
    centres = (np.arange(out_length) + 0.5) / scale - 0.5
    first = np.floor(centres - support / 2)
    positions = first + np.arange(taps)[:, None]
    weights = stretch * kernel(stretch * (centres - positions))
    weights /= weights.sum(axis=0)
    # Outside the border the image is mirrored, with the edge pixel repeated: 2 1 0 | 0 1 2 ... n-1 | n-1 n-2
    folded = np.mod(positions.astype(np.int64), 2 * length)
    indices = np.where(folded < length, folded, 2 * length - 1 - folded)
    used = np.any(weights != 0, axis=1)
    return weights[used], indices[used]


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5 (Keys 1981, eq. 15), support [-2, 2]."""
    x = np.abs(x)
    inner = 1.5 * x**3 - 2.5 * x**2 + 1
    outer = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0.0)


# method -> kernel and its width in input pixels
_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "bicubic": (_cubic, 4.0),
    "bilinear": (_triangle, 2.0),
}


@lru_cache(maxsize=256)
def _area_contributions(length: int, out_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlap of each output pixel with the input pixels, over its width."""
    ends = np.arange(out_length + 1) * length / out_length
    first = np.arange(out_length) * length // out_length
    indices = first + np.arange(math.ceil(length / out_length) + 1)[:, None]
    overlap = np.minimum(indices + 1, ends[1:]) - np.maximum(indices, ends[:-1])
    return _without_idle_taps(np.maximum(overlap, 0.0) * out_length / length, indices, length)


@lru_cache(maxsize=256)
def _lanczos_contributions(length: int, out_length: int) -> tuple[np.ndarray, np.ndarray]:
    """The eight nearest input pixels, weighted by sinc(x)·sinc(x/4)."""
    centres = (np.arange(out_length) + 0.5) * length / out_length - 0.5
    indices = np.floor(centres).astype(np.int64) + np.arange(-3, 5)[:, None]
    weights = np.sinc(centres - indices) * np.sinc((centres - indices) / 4)
    return _without_idle_taps(weights / weights.sum(axis=0), indices, length)


def _without_idle_taps(weights: np.ndarray, indices: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    used = np.any(weights != 0, axis=1)
    return weights[used], np.clip(indices[used], 0, length - 1)


_CONTRIBUTIONS = {"area": _area_contributions, "lanczos": _lanczos_contributions}
