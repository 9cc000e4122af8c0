"""Blur that differs across the image: several kernels, shuffled pixels, a zoom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from uir.core.seeds import derive_seed
from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.blur_degradation import KernelDegradation, kernel_of
from uir.degradations.field_files import read_field
from uir.degradations.fields import field_generator, plasma, uniform
from uir.degradations.filters import filter2d, opencv_serves
from uir.degradations.kernels import gaussian_kernel
from uir.degradations.pipeline_degradation import child_of
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY
from uir.registry.components import DegradationSpec

MASKS = "SpatiallyVaryingBlur.masks"
DEFAULT_BLURS: tuple[dict[str, Any], ...] = (
    {"type": "IsotropicGaussianBlur", "sigma": [0.2, 1.0]},
    {"type": "AnisotropicGaussianBlur", "sigma_x": [1.0, 4.0]},
    {"type": "DefocusBlur", "radius": [2.0, 5.0]},
)


@DEGRADATION_REGISTRY.register()
class SpatiallyVaryingBlur(Degradation):
    """Spatially varying blur: I = Σ m_k·(h_k ∗ J), smooth masks m_k that sum to 1 (Nagy & O'Leary, SISC 1998).

    Args:
        blurs: K ops that filter with one kernel each; default a weak Gaussian, a turned Gaussian and a disk.
        contrast: how sharp the change from one kernel to the next is: masks are proportional to exp(contrast·field),
            each field a smooth random surface in [0, 1]; 0 gives all kernels equal weight everywhere.
        masks: K files of weights that replace the random masks, one for each blur: grey images or `.npy` arrays [H, W]
                in [0, 1]. They are resized to the image and divided by their sum. The record contains their names.
    """

    family: ClassVar[str] = "blur"
    severities = (
        {"blurs": [{"type": "IsotropicGaussianBlur", "sigma": 0.4}, {"type": "IsotropicGaussianBlur", "sigma": 1}]},
        {"blurs": [{"type": "IsotropicGaussianBlur", "sigma": 1}, {"type": "DefocusBlur", "radius": 3}]},
        {"blurs": [{"type": "IsotropicGaussianBlur", "sigma": 3}, {"type": "DefocusBlur", "radius": 8}]},
    )

    def __init__(
        self,
        blurs: list[DegradationSpec] | None = None,
        contrast: Numbers = (5.0, 15.0),
        masks: list[Path] | None = None,
    ) -> None:
        blur_list: Any = DEFAULT_BLURS if blurs is None else blurs
        if not isinstance(blur_list, (list, tuple)) or len(blur_list) < 2:
            raise ValueError(f"SpatiallyVaryingBlur.blurs: expected a list of at least two blurs, got {blur_list!r}")
        self.blurs = [child_of(f"SpatiallyVaryingBlur.blurs[{index}]", blur) for index, blur in enumerate(blur_list)]
        for index, blur in enumerate(self.blurs):
            if not isinstance(blur, KernelDegradation):
                raise ValueError(
                    f"SpatiallyVaryingBlur.blurs[{index}]: {type(blur).__name__} does not filter with one kernel"
                )
        self.contrast = Values.of("SpatiallyVaryingBlur.contrast", contrast, 0, 50)
        self.masks = None if masks is None else [str(path) for path in masks]
        if self.masks is not None and len(self.masks) != len(self.blurs):
            raise ValueError(f"{MASKS}: expected {len(self.blurs)} files, one for each blur, got {len(self.masks)}")
        for path in self.masks or []:
            read_field(MASKS, path)

    def sample(self, seed: int, size: Size) -> Params:
        """`blurs`, the drawn step of each; `contrast` and the masks' `seed`, or `mask_files`."""
        blurs = [blur.draw(derive_seed(seed, "blurs", index), size)[0] for index, blur in enumerate(self.blurs)]
        if self.masks is not None:
            return {"blurs": blurs, "mask_files": self.masks}
        return {"blurs": blurs, "contrast": self.contrast.draw(seed), "seed": seed}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "SpatiallyVaryingBlur")
        clear = working(image)
        masks = masks_of(params, (image.shape[-2], image.shape[-1])).to(clear)
        mixed = torch.zeros_like(clear, memory_format=torch.contiguous_format)
        for mask, blur in zip(masks, params["blurs"], strict=True):
            mixed += mask * filter2d(clear, kernel_of(blur))
        return mixed.clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """The mean over the blurs."""
        return sum(DEGRADATION_REGISTRY.get(b["op"]).severity(b) for b in params["blurs"]) / len(params["blurs"])


def masks_of(params: Mapping[str, Any], size: Size) -> Tensor:
    """The masks of a record, [K, H, W] on the CPU, at least 0, summing to 1 at every pixel."""
    if "mask_files" in params:
        weights = [read_field(MASKS, path, size)[0] + 1e-6 for path in params["mask_files"]]  # if all are black: equal
    else:
        fields = (plasma(size, field_generator(params, f"mask {index}"))[0] for index in range(len(params["blurs"])))
        weights = [torch.exp(params["contrast"] * field) for field in fields]
    return torch.stack(weights) / sum(weights)


@DEGRADATION_REGISTRY.register()
class GlassBlur(Degradation):
    """Glass blur: Gaussian, then neighbours swapped at random, then Gaussian (ImageNet-C, Hendrycks & Dietterich).

    ImageNet-C's five severities (σ, delta, iterations): (0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2).
    Pixels near the border (within `delta`) are swapped only by inner pixels, as published; values are not rounded to 8
    bits.

    Args:
        sigma: σ of both Gaussians in pixels, at least 0.
        delta: largest distance that a pixel moves in one swap, from 1 to 32.
        iterations: number of times that every pixel is swapped, from 1 to 8.
    """

    family: ClassVar[str] = "blur"
    severities = (
        {"sigma": 0.7, "delta": 1, "iterations": 2},
        {"sigma": 1.0, "delta": 2, "iterations": 3},
        {"sigma": 1.5, "delta": 4, "iterations": 2},
    )

    def __init__(self, sigma: Numbers = (0.7, 1.5), delta: Numbers = (1, 4), iterations: Numbers = (1, 3)) -> None:
        self.sigma = Values.of("GlassBlur.sigma", sigma, 0)
        self.delta = Values.of("GlassBlur.delta", delta, 1, 32, integer=True)
        self.iterations = Values.of("GlassBlur.iterations", iterations, 1, 8, integer=True)

    def sample(self, seed: int, size: Size) -> Params:
        """`sigma_px`, `delta_px`, `iterations` and the swaps' `seed`."""
        return {
            "sigma_px": self.sigma.draw(seed),
            "delta_px": int(self.delta.draw(seed)),
            "iterations": int(self.iterations.draw(seed)),
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "GlassBlur")
        height, width = image.shape[-2:]
        sigma = params["sigma_px"]
        kernel = gaussian_kernel(2 * int(4 * sigma + 0.5) + 1, sigma)
        order = swapped_order(params, (height, width)).to(image.device)
        soft = filter2d(working(image), kernel)
        shuffled = soft.flatten(-2).index_select(-1, order).reshape(image.shape)
        return filter2d(shuffled, kernel).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """The spread of light, √(2σ² + iterations·delta²/3), relative to ImageNet-C's most severe level (3.9 px)."""
        return min(1.0, _stray(params) / _stray({"sigma_px": 1.5, "delta_px": 4, "iterations": 2}))


def swapped_order(params: Mapping[str, Any], size: Size) -> Tensor:
    """The pixel (row·W + column) at each position after all swaps, [H·W] on the CPU.

    From the last pixel to the first, each is swapped with one at a distance of −delta to delta − 1 rows and columns.
    """
    width, delta = size[1], params["delta_px"]
    order = list(range(size[0] * width))
    rows, columns = (torch.arange(max(length - delta, delta), delta, -1) for length in size)
    places = (rows[:, None] * width + columns).flatten()
    for iteration in range(params["iterations"] if len(places) else 0):
        shift = (uniform(params, 2, len(places), stream=f"swap {iteration}") * (2 * delta)).long() - delta
        others = places + shift[0] * width + shift[1]
        for place, other in zip(places.tolist(), others.tolist(), strict=True):
            order[place], order[other] = order[other], order[place]
    return torch.from_numpy(np.array(order))


def _stray(params: Mapping[str, Any]) -> float:
    return float((2 * params["sigma_px"] ** 2 + params["iterations"] * params["delta_px"] ** 2 / 3) ** 0.5)


@DEGRADATION_REGISTRY.register()
class ZoomBlur(Degradation):
    """Zoom blur: the mean of the image and of magnified copies of it (ImageNet-C, Hendrycks & Dietterich).

    ImageNet-C's five severities (zoom, step): (1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03); the
    zoom value itself is not reached.

    Args:
        zoom: the end of the magnification, from 1 (no blur) to 3.
        step: the increase per copy, from 0.005.
    """

    family: ClassVar[str] = "blur"
    severities = ({"zoom": 1.11, "step": 0.01}, {"zoom": 1.21, "step": 0.02}, {"zoom": 1.31, "step": 0.03})

    def __init__(self, zoom: Numbers = (1.11, 1.31), step: Numbers = (0.01, 0.03)) -> None:
        self.zoom = Values.of("ZoomBlur.zoom", zoom, 1, 3)
        self.step = Values.of("ZoomBlur.step", step, 0.005)

    def sample(self, seed: int, size: Size) -> Params:
        """`zoom` and `step`."""
        return {"zoom": self.zoom.draw(seed), "step": self.step.draw(seed)}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "ZoomBlur")
        clear = working(image)
        zooms = np.arange(1, params["zoom"], params["step"]).tolist()
        total = clear.clone(memory_format=torch.contiguous_format)
        for zoom in zooms:
            total += clear if zoom == 1 else magnified(clear, zoom)
        return (total / (len(zooms) + 1)).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """0 at a zoom of 1, 1 from 1.31."""
        return min(1.0, (params["zoom"] - 1) / 0.31)


def magnified(image: Tensor, zoom: float) -> Tensor:
    """The image magnified about its centre by `zoom` ≥ 1, bilinearly, cut to its own size.

    It grows by an even number of pixels along each side, so that the centre stays and the cut is exact.
    """
    margins = [round(length * (zoom - 1) / 2) for length in image.shape[-2:]]
    height, width = (length + 2 * margin for length, margin in zip(image.shape[-2:], margins, strict=True))
    if opencv_serves(image):
        import cv2

        planes = image.contiguous().reshape(-1, *image.shape[-2:]).numpy()
        large = torch.from_numpy(np.stack([cv2.resize(plane, (width, height)) for plane in planes]))
    else:
        large = F.interpolate(image.reshape(1, -1, *image.shape[-2:]), size=(height, width), mode="bilinear")[0]
    large = large[:, margins[0] : height - margins[0], margins[1] : width - margins[1]]
    return large.reshape(image.shape)
