"""Too strong sharpening: unsharp masking, and a deconvolution with ringing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.blur_degradation import KernelDegradation
from uir.degradations.filters import filter2d
from uir.degradations.kernels import gaussian_kernel, wiener_kernel
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY


@DEGRADATION_REGISTRY.register()
class USMSharpen(Degradation):
    """Unsharp masking: M·clip(J + w·(J − G∗J)) + (1 − M)·J, M = G∗[255·|J − G∗J| > threshold] (Real-ESRGAN).

    Args:
        weight: w, at least 0 (no change); 0.5 as published.
        radius: side of the Gaussian in pixels, at least 1; an even one is increased by 1. σ = 0.3·((side − 1)/2 − 1) +
            0.8.
        threshold: grey levels of 255 by which a pixel must differ to be sharpened, at least 0.
    """

    family: ClassVar[str] = "sharpening"
    severities = ({"weight": 0.25}, {"weight": 0.5}, {"weight": 1.0})

    def __init__(self, weight: Numbers = 0.5, radius: Numbers = 50, threshold: Numbers = 10.0) -> None:
        self.weight = Values.of("USMSharpen.weight", weight, 0)
        self.radius = Values.of("USMSharpen.radius", radius, 1, integer=True)
        self.threshold = Values.of("USMSharpen.threshold", threshold, 0)

    def sample(self, seed: int, size: Size) -> Params:
        """`weight`, `kernel_size` and `threshold_255`."""
        return {
            "weight": self.weight.draw(seed),
            "kernel_size": int(self.radius.draw(seed)) // 2 * 2 + 1,
            "threshold_255": self.threshold.draw(seed),
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "USMSharpen")
        side = params["kernel_size"]
        kernel = gaussian_kernel(side, 0.3 * ((side - 1) / 2 - 1) + 0.8)
        clear = working(image)
        detail = clear - filter2d(clear, kernel)
        mask = filter2d((detail.abs() > params["threshold_255"] / 255).to(clear), kernel)
        sharp = (clear + params["weight"] * detail).clamp_(0, 1)
        return (clear + mask * (sharp - clear)).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """w, up to 1."""
        return min(1.0, params["weight"])


@DEGRADATION_REGISTRY.register()
class Ringing(KernelDegradation):
    """Ringing: Wiener deconvolution conj(H) / (|H|² + K) of a Gaussian wider than the blur (as in DA-CLIP's pipeline).

    The filter is applied in space, under reflect padding, and keeps the mean brightness.

    Args:
        sigma: σ of the assumed Gaussian H in pixels, at least 0.1; an image with less blur than this gets ringing.
        noise_ratio: K, noise over signal power, above 0; DA-CLIP uses 0.006.
    """

    family: ClassVar[str] = "sharpening"
    severities = ({"sigma": 0.4}, {"sigma": 0.8}, {"sigma": 1.6})

    def __init__(self, sigma: Numbers = (0.3, 1.5), noise_ratio: Numbers = 0.006) -> None:
        self.sigma = Values.of("Ringing.sigma", sigma, 0.1, 10)
        self.noise_ratio = Values.of("Ringing.noise_ratio", noise_ratio, 1e-6)

    def sample(self, seed: int, size: Size) -> Params:
        """`sigma_px` and `noise_ratio`."""
        return {"sigma_px": self.sigma.draw(seed), "noise_ratio": self.noise_ratio.draw(seed)}

    @staticmethod
    def kernel(params: Mapping[str, Any]) -> Tensor:
        """See `wiener_kernel`."""
        return wiener_kernel(params["sigma_px"], params["noise_ratio"])

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """σ, which determines the width of the halos, divided by 3 px."""
        return min(1.0, params["sigma_px"] / 3)
