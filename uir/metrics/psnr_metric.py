"""Peak signal-to-noise ratio: 10·log10(255² / MSE), in decibels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from uir.metrics.basicsr_form import pair_from_arrays, pair_from_tensors
from uir.metrics.protocols import ColorSpace, Rounding, prepare, resolve
from uir.registry import METRIC_REGISTRY


def psnr(
    restored: Tensor,
    gt: Tensor,
    *,
    crop_border: int | None = None,
    color_space: ColorSpace | None = None,
    rounding: Rounding | None = None,
    clip: bool | None = None,
    round_luma: bool | None = None,
    multiple_of: int | None = None,
    protocol: str | None = None,
) -> Tensor:
    """PSNR of each image of a batch.

    Args:
        restored, gt: float RGB [B, 3, H, W] or [3, H, W] in [0, 1], or of one channel.
        crop_border: pixels left out at each edge; default 0.
        color_space: `rgb` (default) or `y`, MATLAB's BT.601 luma (studio range).
        rounding: `uint8` (default), as if both images were saved, or `none`.
        clip: clip both images to [0, 1]; default true.
        round_luma: round the luma to whole grey levels, as MATLAB does for integer images; default false.
        multiple_of: centre crop to multiples of this; default 1.
        protocol: a name in `PROTOCOLS`, which fixes all of these.

    Returns:
        float64 [B], in dB; infinite for identical images.

    Raises:
        ValueError: the shapes differ, or an argument is out of range or contradicts the protocol.
    """
    settings = resolve(
        protocol, crop_border=crop_border, color_space=color_space, rounding=rounding, clip=clip,
        round_luma=round_luma, multiple_of=multiple_of,
    )  # fmt: skip
    return _psnr(*prepare(restored, gt, settings))


@METRIC_REGISTRY.register()
class PSNR:
    """Peak signal-to-noise ratio in dB, the mean over a batch. Arguments as in `psnr`."""

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
    ) -> None:
        self.settings = resolve(
            protocol, crop_border=crop_border, color_space=color_space, rounding=rounding, clip=clip,
            round_luma=round_luma, multiple_of=multiple_of,
        )  # fmt: skip

    def describe(self, channel: str | None = None) -> str:
        """The metric and all its settings, for the heading of a table; `channel` as in `Protocol.describe`."""
        return f"PSNR ({self.settings.describe(channel)})"

    def __call__(self, restored: Tensor, gt: Tensor) -> float:
        return _psnr(*prepare(restored, gt, self.settings)).mean().item()


@METRIC_REGISTRY.register()
def calculate_psnr(
    img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str = "HWC", test_y_channel: bool = False
) -> float:
    """PSNR in BasicSR's form: two BGR arrays in [0, 255], [H, W, C] or [H, W]; on RGB, or on the luma.

    Raises:
        ValueError: the shapes differ, or the border leaves no pixels.
    """
    return _psnr(*pair_from_arrays(img, img2, crop_border, input_order, test_y_channel)).item()


@METRIC_REGISTRY.register()
def calculate_psnr_pt(img: Tensor, img2: Tensor, crop_border: int, test_y_channel: bool = False) -> Tensor:
    """PSNR in BasicSR's tensor form: float RGB [B, C, H, W] in [0, 1], not clipped, not rounded; float64 [B].

    1e-8 is added to the mean squared error, so that identical images score 80 dB.
    """
    return _psnr(*pair_from_tensors(img, img2, crop_border, test_y_channel), epsilon=1e-8)


def _psnr(restored: Tensor, gt: Tensor, epsilon: float = 0.0) -> Tensor:
    """PSNR of float64 images [B, C, H, W] in units of 1/255; `epsilon` is added to the error on the scale of [0, 1]."""
    squared_error = (restored - gt).square().mean(dim=(1, 2, 3)) / 255**2
    return -10 * torch.log10(squared_error + epsilon)
