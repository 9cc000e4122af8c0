"""JPEG by differentiable operations (Shin & Song, JPEG-resistant Adversarial Images, NIPS 2017 workshop)."""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Annex K of the JPEG standard (ITU-T T.81): steps at quality 50, rows are vertical frequencies.
LUMINANCE_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *(((99,) * 8,) * 4),
)
BLOCK = 8


def diff_jpeg(image: Tensor, quality: float | Tensor, differentiable: bool = True, legacy: bool = False) -> Tensor:
    """The image after JPEG: 4:2:0, 8x8 DCT, quantisation, and back.

    Grey images are processed as luminance. Sides are padded to multiples of 16 by repeating the edge, and cropped
    again.

    Args:
        image: RGB or grey [3 or 1, H, W] or [B, 3 or 1, H, W] in [0, 1], float32 or float64.
        quality: libjpeg's scale, 1–100; a number, or [B] for one of each image.
        differentiable: round coefficients as round(x) + (x − round(x))³, whose gradient is not zero, and leave the
            steps of quantisation unrounded; otherwise round both, as the codec does.
        legacy: as in the published implementations: luminance steps are transposed and neither rounded nor bounded
                (quality 100 divides by zero), padding is black.

    Returns:
        The image in the same form, in [0, 1].

    Raises:
        ValueError: wrong shape, or a quality that is out of range or not one for each image.
    """
    _check(image, quality)
    batch = image if image.ndim == 4 else image[None]
    factor = quality_to_factor(torch.as_tensor(quality, dtype=batch.dtype, device=batch.device).view(-1, 1, 1, 1))
    height, width = batch.shape[-2:]
    padding = (0, -width % (2 * BLOCK), 0, -height % (2 * BLOCK))
    padded = F.pad(batch, padding) if legacy else _repeat_edge(batch, padding[3], padding[1])
    planes = _to_ycbcr(255 * padded) if batch.shape[1] == 3 else 255 * padded
    steps = _steps(LUMINANCE_TABLE, factor, differentiable, legacy)
    restored = _code(planes[:, :1], steps, differentiable)
    if batch.shape[1] == 3:
        steps = _steps(CHROMINANCE_TABLE, factor, differentiable, legacy)
        chrominance = _code(_downsample(planes[:, 1:]), steps, differentiable)
        restored = _to_rgb(restored, _upsample(chrominance))
    return (restored[..., :height, :width].clamp(0, 255) / 255).reshape(image.shape)


def quality_to_factor(quality: Tensor) -> Tensor:
    """libjpeg's scale of the tables: 50/q below quality 50, else 2 − q/50."""
    return torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100


def soft_round(x: Tensor) -> Tensor:
    """round(x) + (x − round(x))³ (Shin & Song, equation 2): close to rounding, with a gradient."""
    whole = torch.round(x)
    return whole + (x - whole) ** 3


def _code(planes: Tensor, steps: Tensor, differentiable: bool) -> Tensor:
    """Pass [B, C, H, W] in 0–255 through DCT, quantisation by `steps` [8, 8, B or 1, 1, 1, 1], and back."""
    batch, channels, height, width = planes.shape
    split = planes.reshape(batch, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    blocks = split.permute(3, 5, 0, 1, 2, 4).contiguous() - 128  # the first axes: row and column within the block
    matrix = _dct_matrix().to(planes)
    coefficients = _mix_both(blocks, matrix) / steps
    rounded = soft_round(coefficients) if differentiable else torch.round(coefficients)
    restored = _mix_both(rounded * steps, matrix.T) + 128
    return restored.permute(2, 3, 4, 0, 5, 1).reshape(planes.shape)


def _mix_both(blocks: Tensor, matrix: Tensor) -> Tensor:
    """M·X·Mᵀ for every X [8, 8, ...]."""
    if blocks.device.type != "cpu":
        return torch.einsum("ij,jk...,lk->il...", matrix, blocks, matrix)
    weights = matrix.tolist()
    return _mix(_mix(blocks, weights, 0), weights, 1)


def _mix(blocks: Tensor, weights: list[list[float]], dim: int) -> Tensor:
    # summed in a fixed order: the bits of a matrix product may depend on the number of threads
    planes = blocks.unbind(dim)
    rows = [[plane * weight for plane, weight in zip(planes, row, strict=True)] for row in weights]
    return torch.stack([functools.reduce(torch.add, row) for row in rows], dim)


@functools.cache
def _dct_matrix() -> Tensor:
    """The orthonormal DCT-II: row k is frequency k, [8, 8] float64."""
    positions = torch.arange(BLOCK, dtype=torch.float64)
    matrix = torch.cos((2 * positions + 1) * positions[:, None] * math.pi / (2 * BLOCK)) * 0.5
    matrix[0] *= math.sqrt(0.5)
    return matrix


def _steps(table: tuple[tuple[int, ...], ...], factor: Tensor, differentiable: bool, legacy: bool) -> Tensor:
    base = torch.tensor(table, dtype=factor.dtype, device=factor.device)
    if legacy:
        return base.T[..., None, None, None, None] * factor
    steps = base[..., None, None, None, None] * factor
    return steps.clamp(1, 255) if differentiable else torch.floor(steps + 0.5).clamp(1, 255)


def _to_ycbcr(rgb: Tensor) -> Tensor:
    """Full-range YCbCr of JFIF, [B, 3, H, W] in 0–255."""
    red, green, blue = rgb.split(1, dim=1)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    cb = -0.168736 * red - 0.331264 * green + 0.5 * blue + 128
    cr = 0.5 * red - 0.418688 * green - 0.081312 * blue + 128
    return torch.cat([y, cb, cr], dim=1)


def _to_rgb(y: Tensor, chrominance: Tensor) -> Tensor:
    cb, cr = (chrominance - 128).split(1, dim=1)
    return torch.cat([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], dim=1)


def _downsample(plane: Tensor) -> Tensor:
    rows = plane[..., ::2, :] + plane[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def _upsample(plane: Tensor) -> Tensor:
    return plane.repeat_interleave(2, -2).repeat_interleave(2, -1)


def _repeat_edge(batch: Tensor, bottom: int, right: int) -> Tensor:
    return F.pad(batch, (0, right, 0, bottom), mode="replicate") if bottom or right else batch


def _check(image: Tensor, quality: float | Tensor) -> None:
    if image.ndim not in (3, 4) or image.shape[-3] not in (1, 3):
        raise ValueError(f"diff_jpeg: expected [B, 1 or 3, H, W] or [1 or 3, H, W], got shape {list(image.shape)}")
    count = image.shape[0] if image.ndim == 4 else 1
    if isinstance(quality, Tensor):
        if quality.ndim > 1 or quality.numel() not in (1, count):
            raise ValueError(
                f"diff_jpeg: expected one quality or one for each of {count} images, got shape {list(quality.shape)}"
            )
        if quality.is_meta or ((quality >= 1) & (quality <= 100)).all():
            return
    elif 1 <= quality <= 100:
        return
    raise ValueError(f"diff_jpeg: quality must be between 1 and 100, got {quality}")
