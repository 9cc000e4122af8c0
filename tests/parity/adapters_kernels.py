"""Fixtures of blur kernels and of the degradation of SRMD, IKC and DASR."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uir.degradations.filters import filter2d, filter2d_each
from uir.degradations.kernels import (
    gaussian_kernel,
    generalized_gaussian_kernel,
    plateau_kernel,
    sinc_kernel,
)
from uir.degradations.sharpen_degradation import USMSharpen
from uir.layers.resize import imresize

Comparison = tuple[Any, Any, float]
NUMBER = r"(-?[\d.]+)"
SHAPED = {"generalized": generalized_gaussian_kernel, "plateau": plateau_kernel}


def compare_blur_kernels(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Comparison]:
    """Kernels of Real-ESRGAN (the parameters stand in the array's name, angles in radians), filtering and USM."""
    atol, filtered = meta["tolerance"]["kernels"], meta["tolerance"]["filtered"]
    compared: dict[str, Comparison] = {}
    for name, expected in arrays.items():
        got = _sinc(name) if name.startswith("sinc") else _gaussian_family(name)
        if got is not None:
            compared[name] = (got, expected, atol)
    image = torch.from_numpy(arrays["filter2d_in"])
    kernels = list(torch.from_numpy(arrays["filter2d_kernels"]))
    usm = USMSharpen().sample(0, (image.shape[-2], image.shape[-1]))
    side = usm["kernel_size"]
    return compared | {
        "filter2d_out_per_sample": (filter2d_each(image, kernels), arrays["filter2d_out_per_sample"], filtered),
        "filter2d_out_shared": (filter2d(image, kernels[0]), arrays["filter2d_out_shared"], filtered),
        "usm_kernel": (gaussian_kernel(side, 0.3 * ((side - 1) / 2 - 1) + 0.8)[None], arrays["usm_kernel"], atol),
        "usm_out": (USMSharpen.apply(image, usm), arrays["usm_out"], filtered),
    }


def compare_srmd_degradation(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Comparison]:
    """Gaussian kernels by standard deviations and degrees, blur, bicubic and s-fold down-sampling, whole pipelines."""
    atol = meta["tolerance"]["kernels/blur/bicubic"]["atol"]
    image = torch.from_numpy(arrays["in_hr"])[0]
    kernels: dict[str, Tensor] = {}
    compared: dict[str, Comparison] = {}
    for name, expected in arrays.items():
        parts = re.fullmatch(rf"kernel_(iso\d+|aniso\d+)_(?:sig{NUMBER}|l1_{NUMBER}_l2_{NUMBER}_theta{NUMBER})", name)
        if parts:
            which, sigma, first, second, angle = parts.groups()
            numbers = (float(sigma),) if sigma else (float(first), float(second), float(angle))
            kernels[which] = gaussian_kernel(meta["kernel_size"], *numbers)
            compared[name] = (kernels[which][None], expected, 1e-7)
    for name, expected in arrays.items():
        if name.startswith("blurred_"):
            compared[name] = (filter2d(image / 255, kernels[name.removeprefix("blurred_")]) * 255, expected, atol)
        elif parts := re.fullmatch(r"bicubic_down(\d+)_of_hr", name):
            compared[name] = (_bicubic(image, int(parts[1])), expected, atol)
        elif parts := re.fullmatch(r"pipeline_(bicubic|sfold)_lr", name):
            flips = _flips(parts[1], image, kernels, expected[0])
            compared[name] = (flips, torch.zeros(2), 1e-3)
    return compared


def _gaussian_family(name: str) -> Tensor | None:
    parts = re.fullmatch(
        rf"(gauss|generalized|plateau)_(?:iso_k(\d+)_s{NUMBER}|aniso_k(\d+)_sx{NUMBER}_sy{NUMBER}_th{NUMBER})"
        rf"(?:_beta{NUMBER})?",
        name,
    )
    if parts is None:
        return None
    kind, iso_side, sigma, side, sigma_x, sigma_y, angle, beta = parts.groups()
    if iso_side:
        side, sigma_x, sigma_y, angle = iso_side, sigma, sigma, "0"
    numbers = (int(side), float(sigma_x), float(sigma_y), math.degrees(float(angle)))
    return gaussian_kernel(*numbers) if kind == "gauss" else SHAPED[kind](*numbers, float(beta))


def _sinc(name: str) -> Tensor | None:
    side, omega, padded = re.fullmatch(rf"sinc_k(\d+)_omega{NUMBER}_pad(\d+)", name).groups()
    part = math.pi * float(Fraction(float(omega) / math.pi).limit_denominator(12))
    exact = part if abs(part - float(omega)) < 1e-6 else float(omega)  # the name has six digits of π/3
    margin = max(0, int(padded) - int(side)) // 2
    return torch.nn.functional.pad(sinc_kernel(int(side), exact), [margin] * 4)


def _bicubic(image: Tensor, scale: int) -> Tensor:
    """MATLAB's down-sampling, but with the border pixel repeated (DASR clamps indices where MATLAB mirrors)."""
    padded = torch.nn.functional.pad(image, [4 * scale] * 4, mode="replicate")
    return imresize(padded, 1 / scale)[..., 4:-4, 4:-4]


def _flips(how: str, image: Tensor, kernels: Mapping[str, Tensor], expected: np.ndarray) -> Tensor:
    """Of the kernel that fits: the share of values that round the other way, and how far beyond one level any is."""
    scale = image.shape[-1] // expected.shape[-1]
    best = torch.full((2,), torch.inf)
    for kernel in kernels.values():
        blurred = filter2d(image / 255, kernel) * 255
        small = _bicubic(blurred, scale) if how == "bicubic" else blurred[..., ::scale, ::scale]
        off = (small.round().clamp(0, 255) - torch.from_numpy(expected)).abs()
        flips = torch.stack([(off > 0.5).float().mean(), (off.max() - 1).clamp(min=0)])
        best = min(best, flips, key=lambda pair: float(pair.sum()))
    return best


FUNCTION_ADAPTERS: dict[str, Callable[[Mapping[str, Any], Mapping[str, np.ndarray]], dict[str, Comparison]]] = {
    "dasr_wang/srmd_degradation": compare_srmd_degradation,
    "degradations/blur_kernels": compare_blur_kernels,
}
