"""Structural similarity (Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 2004), only at pixels with a complete window."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from uir.metrics.basicsr_form import pair_from_arrays, pair_from_tensors
from uir.metrics.protocols import ColorSpace, Rounding, Window, prepare, resolve
from uir.registry import METRIC_REGISTRY

C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2


def ssim(
    restored: Tensor,
    gt: Tensor,
    *,
    crop_border: int | None = None,
    color_space: ColorSpace | None = None,
    rounding: Rounding | None = None,
    clip: bool | None = None,
    round_luma: bool | None = None,
    multiple_of: int | None = None,
    window: Window | None = None,
    protocol: str | None = None,
) -> Tensor:
    """SSIM of each image of a batch: the mean over pixels of each channel, then over channels.

    Args:
        restored, gt: float RGB [B, 3, H, W] or [3, H, W] in [0, 1], or of one channel.
        crop_border: pixels left out at each edge; default 0.
        color_space: `rgb` (default) or `y`, MATLAB's BT.601 luma (studio range).
        rounding: `uint8` (default), as if both images were saved, or `none`.
        clip: clip both images to [0, 1]; default true.
        round_luma: round the luma to whole grey levels, as MATLAB does for integer images; default false.
        multiple_of: centre crop to multiples of this; default 1.
        window: `gaussian` (default), 11×11 with σ 1.5, or `uniform`, scikit-image's default: 7×7, sample covariance.
        protocol: a name in `PROTOCOLS`, which fixes all of these.

    Returns:
        float64 [B], at most 1.

    Raises:
        ValueError: the shapes differ, the image is smaller than the window, or an argument is out of range or
            contradicts the protocol.
    """
    settings = resolve(
        protocol, crop_border=crop_border, color_space=color_space, rounding=rounding, clip=clip,
        round_luma=round_luma, multiple_of=multiple_of, window=window,
    )  # fmt: skip
    return _ssim(*prepare(restored, gt, settings), settings.window)


@METRIC_REGISTRY.register()
class SSIM:
    """Structural similarity, the mean over a batch. Arguments as in `ssim`."""

    better = "higher"

    def __init__(
        self,
        protocol: str | None = None,
        crop_border: int | None = None,
        color_space: ColorSpace | None = None,
        rounding: Rounding | None = None,
        clip: bool | None = None,
        round_luma: bool | None = None,
        multiple_of: int | None = None,
        window: Window | None = None,
    ) -> None:
        self.settings = resolve(
            protocol, crop_border=crop_border, color_space=color_space, rounding=rounding, clip=clip,
            round_luma=round_luma, multiple_of=multiple_of, window=window,
        )  # fmt: skip

    def describe(self, channel: str | None = None) -> str:
        """The metric and all its settings, for the heading of a table; `channel` as in `Protocol.describe`."""
        window = "" if self.settings.window == "gaussian" else ", 7×7 uniform window"
        return f"SSIM ({self.settings.describe(channel)}{window})"

    def __call__(self, restored: Tensor, gt: Tensor) -> float:
        return _ssim(*prepare(restored, gt, self.settings), self.settings.window).mean().item()


@METRIC_REGISTRY.register()
def calculate_ssim(
    img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str = "HWC", test_y_channel: bool = False
) -> float:
    """SSIM in BasicSR's form: two BGR arrays in [0, 255], [H, W, C] or [H, W]; on RGB, or on the luma.

    Raises:
        ValueError: the shapes differ, or the border leaves fewer than 11×11 pixels.
    """
    return _ssim(*pair_from_arrays(img, img2, crop_border, input_order, test_y_channel)).item()


@METRIC_REGISTRY.register()
def calculate_ssim_pt(img: Tensor, img2: Tensor, crop_border: int, test_y_channel: bool = False) -> Tensor:
    """SSIM in BasicSR's tensor form: float RGB [B, C, H, W] in [0, 1], not clipped, not rounded; float64 [B]."""
    return _ssim(*pair_from_tensors(img, img2, crop_border, test_y_channel))


def _ssim(restored: Tensor, gt: Tensor, window: Window = "gaussian") -> Tensor:
    """SSIM of float64 images [B, C, H, W] in units of 1/255."""
    if window == "gaussian":
        taps, correction = _GAUSSIAN, 1.0
    else:
        taps, correction = [1 / 7] * 7, 49 / 48  # the sample covariance divides by the number of pixels minus one
    if min(restored.shape[-2:]) < len(taps):
        height, width = restored.shape[-2:]
        raise ValueError(
            f"SSIM needs at least {len(taps)}×{len(taps)} pixels within the border, got {height}×{width}; crop less"
        )
    # One channel at a time: float64 maps of a large photograph would otherwise fill the memory.
    maps = [_ssim_of_channel(x, y, taps, correction) for x, y in zip(restored.unbind(1), gt.unbind(1), strict=True)]
    return torch.stack(maps).mean(dim=0)


def _ssim_of_channel(x: Tensor, y: Tensor, taps: list[float], correction: float) -> Tensor:
    """Mean over the pixels of the SSIM map (Wang et al. 2004, eq. 13) of [B, H, W]."""
    mean_x, mean_y = _local_mean(x, taps), _local_mean(y, taps)
    product, squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    covariance = (_local_mean(x * y, taps) - product) * correction
    variances = (_local_mean(x.square() + y.square(), taps) - squares) * correction
    ssim_map = (2 * product + C1) * (2 * covariance + C2) / ((squares + C1) * (variances + C2))
    return ssim_map.mean(dim=(1, 2))


def _local_mean(image: Tensor, taps: list[float]) -> Tensor:
    """Separable filter over the valid region of [..., H, W]."""
    # Sums of shifted copies: on a CPU more than ten times as fast as a float64 convolution.
    for dim in (-2, -1):
        length = image.shape[dim] - len(taps) + 1
        filtered = image.narrow(dim, 0, length) * taps[0]
        for shift, tap in enumerate(taps[1:], start=1):
            filtered.add_(image.narrow(dim, shift, length), alpha=tap)
        image = filtered
    return image


def _gaussian_taps(size: int, sigma: float) -> list[float]:
    raw = [math.exp(-((i - size // 2) ** 2) / (2 * sigma**2)) for i in range(size)]
    return [value / sum(raw) for value in raw]


_GAUSSIAN = _gaussian_taps(11, 1.5)
