"""Fixtures of differentiable JPEG and of YCbCr."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uir.degradations.diffjpeg import diff_jpeg, quality_to_factor
from uir.layers.color import rgb_to_y, rgb_to_ycbcr, ycbcr_to_rgb

Arrays = Mapping[str, np.ndarray]
Comparison = tuple[Any, Any, float]

INVERSE_ATOL = 1e-5  # the published way back rounds the inverse matrix to eight decimals, ours is exact
FLIPPED_FROM, FLIPPED_SHARE = 1e-4, 1e-3  # "max 1e-4 on >99.9% of pixels"


def compare_diff_jpeg(meta: Mapping[str, Any], arrays: Arrays) -> dict[str, Comparison]:
    """Hard and soft rounding at every quality that is stored, and a batch with one quality for each image.

    Where only a share of hardly rounded pixels must agree (a tie may flip a coefficient), the share that does not is
    compared with 0.
    """
    by_share = "hard" in meta["tolerance"]
    atol = meta["tolerance"]["soft" if by_share else "atol"]
    compared: dict[str, Comparison] = {}
    for key, expected in arrays.items():
        name, _, kind = key.rpartition("_")
        if name == "factor":
            got: Tensor = quality_to_factor(torch.tensor(float(kind[1:]), dtype=torch.float64))
        elif name == "batch" and kind == "hard":
            got = diff_jpeg(_tensor(arrays["batch_in"]), _tensor(arrays["batch_quality"]), False, legacy=True)
        elif kind in ("hard", "soft"):
            got = diff_jpeg(_tensor(arrays["in_x"]), float(name[1:]), kind == "soft", legacy=True)
        else:
            continue
        if kind == "hard" and by_share:
            off = (got - _tensor(expected)).abs() > FLIPPED_FROM
            compared[key] = (off.float().mean(), np.float32(0), FLIPPED_SHARE)
        else:
            compared[key] = (got, expected, atol)
    return compared


def compare_ycbcr(meta: Mapping[str, Any], arrays: Arrays) -> dict[str, Comparison]:
    """Studio-range YCbCr of RGB and BGR, as floats and rounded to 8 bits, and the way back."""
    rgb = _planes(arrays["in_uint8_hwc"])
    by_order = {"rgb": rgb, "bgr": rgb.flip(0)}
    compared: dict[str, Comparison] = {}
    for key, expected in arrays.items():
        order = key[:3]
        if key == "in_uint8_hwc":
            continue
        if key.startswith("ycbcr2"):
            restored = ycbcr_to_rgb(rgb_to_ycbcr(rgb))
            got = restored.flip(0) if key.startswith("ycbcr2bgr") else restored
        else:
            got = rgb_to_y(by_order[order])[0] if "_y" in key else rgb_to_ycbcr(by_order[order])
        if key.endswith("uint8"):
            got = (got * 255).round().to(torch.uint8)
        if "_pt_" in key:
            got = got[None, None] if got.ndim == 2 else got[None]
        elif got.ndim == 3:
            got = got.permute(1, 2, 0)
        atol = meta["tolerance"]["uint8" if key.endswith("uint8") else "float"]
        compared[key] = (got, expected, max(atol, INVERSE_ATOL) if key.startswith("ycbcr2") else atol)
    return compared


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array)


def _planes(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


# prefix of the fixture's path -> adapter
CODEC_ADAPTERS = {
    "degradations/diffjpeg": compare_diff_jpeg,
    "degradations/diffjpeg_mlomnitz": compare_diff_jpeg,
    "degradations/ycbcr": compare_ycbcr,
}
