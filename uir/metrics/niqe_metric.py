"""NIQE, naturalness of an image without a reference (Mittal, Soundararajan and Bovik, IEEE SPL 2013).

`niqe_parameters.npz` describes natural photographs: the mean [36] and the covariance [36, 36] of the features of the
pristine images of Mittal et al., as in `basicsr/metrics/niqe_pris_params.npz` of BasicSR (Apache-2.0, commit 8d56e3a).
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from uir.layers.color import rgb_to_y
from uir.layers.resize import imresize
from uir.metrics.protocols import crop_border as cropped
from uir.metrics.protocols import in_double
from uir.registry import METRIC_REGISTRY

Luma = Literal["y", "yiq"]
BLOCK = 96
PARAMETERS = Path(__file__).with_name("niqe_parameters.npz")
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
_YIQ = (0.299, 0.587, 0.114)


def niqe(image: Tensor, *, crop_border: int = 0, luma: Luma = "y") -> Tensor:
    """NIQE of each image of a batch; lower is more natural.

    Args:
        image: float RGB [B, 3, H, W] or [3, H, W] in [0, 1], or of one channel; clipped and rounded as if it were
            saved.
        crop_border: pixels left out at each edge.
        luma: `y`, MATLAB's BT.601 luma in 16 to 235 (BasicSR's `convert_to: y`), or `yiq`, the luma of YIQ in 0 to
            255 (MATLAB's `rgb2gray`, BasicSR's `gray`, pyiqa). The values differ by up to five per cent.

    Returns:
        float64 [B]; NaN for an image with a NaN, or with fewer than two blocks that are not flat.

    Raises:
        ValueError: an argument is out of range, or the image has fewer than two blocks of 96×96 pixels.
    """
    if luma not in ("y", "yiq"):
        raise ValueError(f"luma: expected y or yiq, got {luma!r}")
    if image.ndim not in (3, 4) or image.shape[-3] not in (1, 3) or not image.is_floating_point():
        raise ValueError(
            f"NIQE: expected float images [B, 3, H, W] in [0, 1] (or one channel), got {image.dtype} "
            f"{list(image.shape)}"
        )
    image = cropped(image if image.ndim == 4 else image[None], crop_border)
    saved = in_double((image.float().clamp(0, 1) * 255).round())
    return torch.stack([_niqe(plane) for plane in _luma(saved, luma).round()[:, 0]])


@METRIC_REGISTRY.register()
class NIQE:
    """Natural image quality evaluator: needs no reference; lower is more natural, 2 to 6 is usual for photographs.

    Args:
        crop_border: pixels left out at each edge.
        luma: `y`, MATLAB's BT.601 luma in 16 to 235 (BasicSR's), or `yiq`, the luma of YIQ in 0 to 255 (MATLAB's
            `rgb2gray`, pyiqa's). Published numbers exist of both.

    Raises:
        ValueError: an argument is out of range.
    """

    better = "lower"
    needs_reference = False

    def __init__(self, crop_border: int = 0, luma: Luma = "y") -> None:
        if luma not in ("y", "yiq"):
            raise ValueError(f"luma: expected y or yiq, got {luma!r}")
        if crop_border < 0:
            raise ValueError(f"crop_border: expected at least 0 pixels, got {crop_border}")
        self.crop_border = crop_border
        self.luma: Luma = luma

    def describe(self, channel: str | None = None) -> str:
        """The metric and all its settings, for the heading of a table; `channel` as in `Protocol.describe`."""
        return f"NIQE ({channel or self.luma.upper()}, border {self.crop_border}, uint8, parameters of Mittal et al.)"

    def __call__(self, restored: Tensor) -> float:
        return niqe(restored, crop_border=self.crop_border, luma=self.luma).mean().item()


@METRIC_REGISTRY.register()
def calculate_niqe(img: np.ndarray, crop_border: int, input_order: str = "HWC", convert_to: str = "y") -> float:
    """NIQE in BasicSR's form: a BGR array in [0, 255], [H, W, C] or [H, W].

    Args:
        img: the image.
        crop_border: pixels left out at each edge.
        input_order: `HWC`, `CHW` or `HW`.
        convert_to: `y`, or `gray`, which is `luma: yiq` of `NIQE`.

    Raises:
        ValueError: an argument is out of range, or the image has fewer than two blocks of 96×96 pixels.
    """
    if convert_to not in ("y", "gray"):
        raise ValueError(f"convert_to: expected y or gray, got {convert_to!r}")
    if input_order not in ("HWC", "CHW", "HW"):
        raise ValueError(f"input_order: expected HWC, CHW or HW, got {input_order!r}")
    image = torch.from_numpy(np.ascontiguousarray(img, dtype=np.float64)) / 255
    if image.ndim == 2:
        image = image[None]
    elif input_order == "HWC":
        image = image.movedim(-1, 0)
    return niqe(image.flip(0), crop_border=crop_border, luma="y" if convert_to == "y" else "yiq").item()


def _luma(image: Tensor, luma: Luma) -> Tensor:
    """The luma [B, 1, H, W] of images in units of 1/255; the channel of a grey image is used unchanged."""
    if image.shape[1] == 1:
        return image
    if luma == "y":
        return rgb_to_y(image / 255) * 255
    # In single precision, like the published code: it decides about the luma that lies between two grey levels.
    red, green, blue = ((image.float() / 255) * weight for weight, image in zip(_YIQ, image.split(1, 1), strict=True))
    return ((red + green + blue) * 255).double()


def _niqe(plane: Tensor) -> Tensor:
    """NIQE of a luma plane [H, W] in whole grey levels: the distance of its features' distribution to the pristine."""
    rows, columns = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    if rows * columns < 2:
        raise ValueError(
            f"NIQE needs at least two blocks of {BLOCK}×{BLOCK} pixels within the border, got "
            f"{plane.shape[0]}×{plane.shape[1]} pixels"
        )
    if bool(plane.isnan().any()):
        return plane.new_tensor(math.nan)  # its block would be left out like a flat one
    plane = plane[: rows * BLOCK, : columns * BLOCK]
    half = imresize(plane / 255, scale=0.5) * 255
    features = torch.cat([block_features(plane, BLOCK), block_features(half, BLOCK // 2)], dim=1)
    mean, covariance = (torch.from_numpy(array).to(plane.device) for array in _pristine())
    complete = features[~features.isnan().any(dim=1)]  # flat blocks have no shape
    if len(complete) < 2:
        return plane.new_tensor(math.nan)
    difference = mean - features.nanmean(dim=0)
    pooled = (covariance + torch.cov(complete.T)) / 2
    return (difference @ torch.linalg.pinv(pooled, rcond=1e-15) @ difference).sqrt()


@functools.cache
def _pristine() -> tuple[np.ndarray, np.ndarray]:
    with np.load(PARAMETERS, allow_pickle=False) as stored:
        return stored["mean"], stored["covariance"]


def block_features(plane: Tensor, block: int) -> Tensor:
    """The 18 natural scene statistics of each block of a luma plane (eqs. 4 to 9 of the paper).

    Args:
        plane: float64 [H, W] in units of 1/255, both sides multiples of `block`.

    Returns:
        [blocks, 18]: shape and mean scale of the normalised luma, then shape, mean, left and right scale of its
        products with the neighbour to the right, below, and on both diagonals.
    """
    height, width = plane.shape
    blocks = normalised_luma(plane).view(height // block, block, width // block, block).transpose(1, 2)
    blocks = blocks.reshape(-1, block, block)
    shape, left, right = _fitted(blocks)
    features = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        shape, left, right = _fitted(blocks * blocks.roll(shift, dims=(1, 2)))
        mean = (right - left) * torch.exp(torch.lgamma(2 / shape) - torch.lgamma(1 / shape))
        features += [shape, mean, left, right]
    return torch.stack(features, dim=1)


def normalised_luma(plane: Tensor) -> Tensor:
    """The plane [H, W] minus its local mean, over its local deviation plus one (eq. 1), in a 7×7 Gaussian window."""
    distance = torch.arange(-3, 4, dtype=plane.dtype, device=plane.device)
    taps = torch.exp(-(distance**2) / (2 * (7 / 6) ** 2))
    window = torch.outer(taps, taps)[None, None] / taps.sum() ** 2
    padded = F.pad(plane[None, None], (3, 3, 3, 3), mode="replicate")
    # The local moments are stored in single precision, like those of BasicSR: in flat areas their difference is a
    # matter of rounding, which moves NIQE by up to 0.001.
    mean, mean_square = (F.conv2d(power, window)[0, 0].float() for power in (padded, padded**2))
    deviation = (mean_square - mean**2).abs().sqrt()
    return ((plane.float() - mean) / (deviation + 1)).double()


@functools.cache
def _shapes() -> tuple[Tensor, Tensor]:
    """The shapes that are tried, and the ratio (E|x|)² / E[x²] of a generalised Gaussian with each of them."""
    shapes = torch.arange(0.2, 10.001, 0.001, dtype=torch.float64)
    log_gamma = [torch.lgamma(power / shapes) for power in (1, 2, 3)]
    return shapes, torch.exp(2 * log_gamma[1] - log_gamma[0] - log_gamma[2])


def _fitted(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape, left and right scale [B] of the asymmetric generalised Gaussian that fits each block [B, h, w]."""
    values = blocks.flatten(1)
    negative, positive = values < 0, values > 0
    squares = values**2
    left = ((squares * negative).sum(1) / negative.sum(1)).sqrt()
    right = ((squares * positive).sum(1) / positive.sum(1)).sqrt()
    balance = left / right
    ratio = values.abs().mean(1) ** 2 / squares.mean(1)
    wanted = ratio * (balance**3 + 1) * (balance + 1) / (balance**2 + 1) ** 2
    shapes, ratios = (table.to(values.device) for table in _shapes())
    # The ratios increase with the shape: the nearest one is beside the place where the wanted one would stand.
    above = torch.searchsorted(ratios, wanted.contiguous()).clamp(1, len(ratios) - 1)
    nearest = above - ((wanted - ratios[above - 1]) <= (ratios[above] - wanted)).long()
    shape = torch.where(wanted.isnan(), wanted, shapes[nearest])
    spread = torch.exp((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2)
    return shape, left * spread, right * spread
