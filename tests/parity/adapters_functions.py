"""Fixtures of functions (metrics, degradations, losses, schedules): what to compute and what to compare.

To add one, write a function and name it in the table under the fixture's prefix:

    def compare_luma(meta, arrays):
        return {"y": (rgb_to_y(torch.from_numpy(arrays["rgb"])), arrays["y"], meta["tolerance"]["atol"])}

    FUNCTION_ADAPTERS = {"degradations/luma": compare_luma}

It takes `meta` (meta.json, and `folder`, the fixture's path) and `arrays` (io.npz), and returns, for each output that
it compares, `(got, expected, atol)`: tensors, arrays or numbers of one shape. Then name the prefix in `covered.txt`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from adapters_adversarial import ADVERSARIAL_FUNCTIONS
from adapters_codec import CODEC_ADAPTERS
from adapters_dasr import DASR_ADAPTERS
from adapters_diffusion import DIFFUSION_FUNCTIONS
from adapters_kernels import FUNCTION_ADAPTERS as KERNEL_ADAPTERS
from adapters_moco import MOCO_ADAPTERS
from torch import Tensor

from uir.layers.resize import imresize
from uir.losses.classification_loss import FocalLoss
from uir.metrics.psnr_metric import calculate_psnr, calculate_psnr_pt
from uir.metrics.ssim_metric import calculate_ssim, calculate_ssim_pt

Arrays = Mapping[str, np.ndarray]
Comparison = tuple[Any, Any, float]
FunctionAdapter = Callable[[Mapping[str, Any], Arrays], dict[str, Comparison]]

BY_ARRAY = {"psnr": calculate_psnr, "ssim": calculate_ssim}
BY_TENSOR = {"psnr": calculate_psnr_pt, "ssim": calculate_ssim_pt}


def compare_psnr_ssim(meta: Mapping[str, Any], arrays: Arrays) -> dict[str, Comparison]:
    """PSNR and SSIM of uint8 BGR arrays and of RGB tensors, at every border and colour space that is stored."""
    first, second = arrays["img1_bgr_hwc"], arrays["img2_bgr_hwc"]
    compared = {}
    for key, expected in arrays.items():
        parts = re.fullmatch(r"(psnr|ssim)_(pt_)?(?:crop(\d+)_(rgb|y)|gray)", key)
        if parts is None:
            continue
        metric, by_tensor, border, colours = parts.groups()
        atol = meta["tolerance"][metric]
        if colours is None:
            got = BY_ARRAY[metric](first[..., 0], second[..., 0], 0)
        elif by_tensor:
            atol = float(meta["tolerance"]["_pt y"]) if colours == "y" else atol
            got = BY_TENSOR[metric](_to_batch(first), _to_batch(second), int(border), colours == "y")[0]
        else:
            got = BY_ARRAY[metric](first, second, int(border), test_y_channel=colours == "y")
        compared[key] = (got, expected, atol)
    return compared


def compare_imresize(meta: Mapping[str, Any], arrays: Arrays) -> dict[str, Comparison]:
    """MATLAB's imresize at every scale that is stored."""
    image = torch.from_numpy(arrays["in_hwc"]).permute(2, 0, 1)
    compared = {}
    for key, expected in arrays.items():
        parts = re.fullmatch(r"(torch_chw_)?scale_([\d.]+)(_no_antialias)?", key)
        if parts is None:
            continue
        chw, scale, no_antialias = parts.groups()
        exact = float(Fraction(scale).limit_denominator(1000))  # 0.333333 stands for a third
        got = imresize(image, exact, antialias=no_antialias is None)
        compared[key] = (got if chw else got.permute(1, 2, 0), expected, meta["tolerance"]["atol"])
    return compared


def _to_batch(bgr: np.ndarray) -> Tensor:
    return torch.from_numpy(bgr[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255


def compare_focal(meta: Mapping[str, Any], arrays: Arrays) -> dict[str, Comparison]:
    """Focal loss at every focus, with weights, with ignored labels, unreduced."""
    logits, labels, ignoring = (torch.from_numpy(arrays[key]) for key in ("logits", "labels", "labels_with_ignore"))
    got: dict[str, Any] = {f"focal_gamma{gamma}": FocalLoss(gamma)(logits, labels) for gamma in (0, 1, 2)}
    got["focal_gamma2_alpha_sum"] = FocalLoss(2, arrays["alpha"].tolist(), reduction="sum")(logits, labels)
    got["focal_gamma2_ignore"] = FocalLoss(2)(logits, ignoring)
    got["focal_gamma2_none"] = FocalLoss(2, reduction="none")(logits, labels)
    return {key: (value, arrays[key], 1e-5) for key, value in got.items()}


# prefix of the fixture's path -> adapter
FUNCTION_ADAPTERS: dict[str, FunctionAdapter] = {
    "degradations/matlab_imresize": compare_imresize,
    "losses/dcpt_focal": compare_focal,
    "metrics/psnr_ssim": compare_psnr_ssim,
}


def function_adapter_of(name: str) -> FunctionAdapter | None:
    """The adapter with the longest prefix of a fixture's name, if there is one."""
    prefixes = [prefix for prefix in FUNCTION_ADAPTERS if name == prefix or name.startswith(f"{prefix}/")]
    return FUNCTION_ADAPTERS[max(prefixes, key=len)] if prefixes else None


FUNCTION_ADAPTERS.update(ADVERSARIAL_FUNCTIONS)
FUNCTION_ADAPTERS.update(CODEC_ADAPTERS)
FUNCTION_ADAPTERS.update(DASR_ADAPTERS)
FUNCTION_ADAPTERS.update(DIFFUSION_FUNCTIONS)
FUNCTION_ADAPTERS.update(KERNEL_ADAPTERS)
FUNCTION_ADAPTERS.update(MOCO_ADAPTERS)
