"""MATLAB's `imresize`, with its antialiasing, for tensors.

Low-resolution images of the super-resolution literature are made with it. `torch.nn.functional.interpolate` treats
the border otherwise, and without `antialias` has another cubic kernel (a = -0.75).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
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
        antialias: widen the kernel when an axis shrinks, so that it takes in every input pixel.
        method: `bicubic` (Keys 1981, a = -0.5) or `bilinear` (the triangle kernel).

    Returns:
        [..., height, width], not clipped: bicubic overshoots at edges. Half-precision images are filtered in float32.

    Raises:
        ValueError: the image is not float, not exactly one of `scale` and `size` is given, it is not positive, or
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
    # The smaller scale first, as MATLAB does: fewer pixels are left for the second pass.
    passes = [(-2, height, out_height, scale_height), (-1, width, out_width, scale_width)]
    for dim, length, out_length, axis_scale in sorted(passes, key=lambda axis: axis[3]):
        working = _resize_axis(working, dim, *_contributions(length, out_length, axis_scale, antialias, method))
    return working.to(image.dtype)


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
    # The cache holds numpy arrays: a tensor made under inference_mode could never take part in a backward pass later.
    taps = torch.tensor(weights, dtype=image.dtype, device=image.device)
    lines = torch.tensor(indices, device=image.device)
    if dim == -2:
        taps = taps[..., None]
    resized = image.index_select(dim, lines[0]) * taps[0]
    for tap, line in zip(taps[1:], lines[1:], strict=True):
        resized = torch.addcmul(resized, image.index_select(dim, line), tap.expand_as(resized))
    return resized


@lru_cache(maxsize=256)
def _contributions(
    length: int, out_length: int, scale: float, antialias: bool, method: str
) -> tuple[np.ndarray, np.ndarray]:
    """Which input pixels make an output pixel, and with what weight, along one axis."""
    kernel, support = _KERNELS[method]
    stretch = min(scale, 1.0) if antialias else 1.0  # a shrinking axis has its kernel widened by 1/scale
    support = support / stretch
    taps = math.ceil(support) + 2
    # Centre of each output pixel in input coordinates, pixel centres on whole numbers from 0.
    centres = (np.arange(out_length) + 0.5) / scale - 0.5
    first = np.floor(centres - support / 2)
    positions = first + np.arange(taps)[:, None]
    weights = stretch * kernel(stretch * (centres - positions))
    weights /= weights.sum(axis=0)
    # Beyond the border the image is mirrored, its edge pixel repeated: 2 1 0 | 0 1 2 ... n-1 | n-1 n-2
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
