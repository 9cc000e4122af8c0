"""Low light: by a curve, and by the Retinex model with a map of the illumination."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.channels import grey_plane
from uir.degradations.field_files import FieldFiles, read_field
from uir.degradations.fields import normal
from uir.degradations.filters import reflect_pad
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

SMALLEST = torch.finfo(torch.float32).tiny  # replaces black, whose logarithm is infinite
RETINEX_EPSILON = 1e-7


@DEGRADATION_REGISTRY.register()
class LowLight(Degradation):
    """Low light: I = β·(α·J)^γ, then optional Gaussian noise (Lv et al., IJCV 2021, with the ranges published there).

    MiOIR (Kong et al., 2024) is the plain curve: `alpha: 1, beta: 1, gamma: [1, 3]`.

    Args:
        alpha: linear darkening before the curve, in [0, 1].
        beta: linear darkening after it, in [0, 1].
        gamma: exponent, at least 0; above 1 darkens.
        noise_sigma: standard deviation of the noise in low light, in grey levels of 255; 0 for none.
    """

    family: ClassVar[str] = "low_light"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"alpha": 0.95, "beta": 0.9, "gamma": 1.5},
        {"alpha": 0.95, "beta": 0.75, "gamma": 2.5},
        {"alpha": 0.95, "beta": 0.6, "gamma": 4.0},
    )

    def __init__(
        self,
        alpha: Numbers = (0.9, 1.0),
        beta: Numbers = (0.5, 1.0),
        gamma: Numbers = (1.5, 5.0),
        noise_sigma: Numbers = 0.0,
    ) -> None:
        self.alpha = Values.of("LowLight.alpha", alpha, 0, 1)
        self.beta = Values.of("LowLight.beta", beta, 0, 1)
        self.gamma = Values.of("LowLight.gamma", gamma, 0)
        self.noise_sigma = Values.of("LowLight.noise_sigma", noise_sigma, 0)

    def sample(self, seed: int, size: Size) -> Params:
        """`alpha`, `beta`, `gamma`, `noise_sigma_255`, and `seed` if there is noise."""
        params: Params = {
            "alpha": self.alpha.draw(seed),
            "beta": self.beta.draw(seed),
            "gamma": self.gamma.draw(seed),
            "noise_sigma_255": self.noise_sigma.draw(seed),
        }
        return {**params, "seed": seed} if params["noise_sigma_255"] > 0 else params

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "LowLight")
        dark = params["beta"] * power(params["alpha"] * working(image), params["gamma"])
        return with_noise(dark, params).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Fraction of light that a pixel of 0.5 loses, 1 − 2·β·(α/2)^γ."""
        return float(max(0.0, 1 - 2 * params["beta"] * (params["alpha"] / 2) ** params["gamma"]))


@DEGRADATION_REGISTRY.register()
class RetinexLowLight(Degradation):
    """Low light by Retinex: I = J/(L + 1e-7)·L^γ + n (CDD-11 of OneRestore, Guo et al., ECCV 2024, and its ranges).

    L is the grey image after a guided filter (He et al., TPAMI 2013; 3×3 window, ε 0.01) whose guide is a map of the
    illumination: the light becomes darker, the reflectance stays.

    Args:
        gamma: exponent of the illumination, at least 0; above 1 darkens.
        noise_sigma: standard deviation of n in grey levels of 255, published as 0.03 to 0.08 of full scale.
        light: a map of the illumination, or a folder of them (grey images or `.npy` arrays [H, W] in [0, 1], resized to
            the image), such as LIME computes. Default: the brightest channel of each pixel, LIME's first step. The
            record contains the file's name.
        clip: clip the result to [0, 1].
    """

    family: ClassVar[str] = "low_light"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"gamma": 1.5, "noise_sigma": 4},
        {"gamma": 2.2, "noise_sigma": 8},
        {"gamma": 3.0, "noise_sigma": 15},
    )

    def __init__(
        self,
        gamma: Numbers = (2.0, 3.0),
        noise_sigma: Numbers = (0.03 * 255, 0.08 * 255),
        light: Path | None = None,
        clip: bool = True,
    ) -> None:
        self.gamma = Values.of("RetinexLowLight.gamma", gamma, 0)
        self.noise_sigma = Values.of("RetinexLowLight.noise_sigma", noise_sigma, 0)
        self.light = FieldFiles.of("RetinexLowLight.light", light)
        if not isinstance(clip, bool):
            raise ValueError(f"RetinexLowLight.clip: expected true or false, got {clip!r}")
        self.clip = clip

    def sample(self, seed: int, size: Size) -> Params:
        """`gamma`, `noise_sigma_255`, `clip`, `light_file` if there is one, `seed` if there is noise."""
        params: Params = {
            "gamma": self.gamma.draw(seed),
            "noise_sigma_255": self.noise_sigma.draw(seed),
            "clip": self.clip,
        }
        if self.light is not None:
            params["light_file"] = self.light.draw(seed)
        return {**params, "seed": seed} if params["noise_sigma_255"] > 0 else params

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`. Values may be outside [0, 1] if `clip` is false."""
        check_image(image, "RetinexLowLight")
        clear = working(image)
        light = illumination(clear, params)
        # one factor for all channels; the published form divides first and then multiplies
        dark = with_noise(clear * (power(light, params["gamma"]) / light), params)
        return (dark.clamp_(0, 1) if params["clip"] else dark).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Fraction of light that a pixel under illumination 0.5 loses, 1 − 0.5^(γ − 1)."""
        return float(max(0.0, 1 - 0.5 ** (params["gamma"] - 1)))


def illumination(clear: Tensor, params: Mapping[str, Any]) -> Tensor:
    """L + 1e-7 of [..., C, H, W], above 0, [..., 1, H, W]."""
    height, width = clear.shape[-2:]
    if "light_file" in params:
        guide = read_field("RetinexLowLight.light", params["light_file"], (height, width)).to(clear)
    else:
        guide = clear.amax(dim=-3, keepdim=True)
    return guided_filter(guide, grey_plane(clear), side=3, epsilon=0.01).clamp_(min=0).add_(RETINEX_EPSILON)


def guided_filter(guide: Tensor, source: Tensor, side: int, epsilon: float) -> Tensor:
    """The source as a locally linear function of the guide (He et al., TPAMI 2013, Eq. 5–8), [..., 1, H, W].

    Args:
        guide, source: [..., 1, H, W], of shapes that broadcast.
        side: side of the square window, odd; the window is reflected at the border.
        epsilon: regularisation on the scale of the guide's variance; a small value keeps more of its edges.
    """
    mean_guide, mean_source = _box(guide, side), _box(source, side)
    covariance = _box(guide * source, side) - mean_guide * mean_source
    slope = covariance / (_box(guide * guide, side) - mean_guide * mean_guide + epsilon)
    return _box(slope, side) * guide + _box(mean_source - slope * mean_guide, side)


def power(base: Tensor, exponent: float) -> Tensor:
    """base^exponent; values not above 0 are first raised to a tiny number.

    This is not `base ** exponent`: on a CPU its last bit depends on the memory position and the number of threads.
    """
    return torch.exp(exponent * torch.log(base.clamp(min=SMALLEST)))


def with_noise(dark: Tensor, params: Mapping[str, Any]) -> Tensor:
    """Add Gaussian noise of `noise_sigma_255` if it is above 0; all images of a batch get the same field."""
    if params["noise_sigma_255"] <= 0:
        return dark
    return dark + (normal(params, *dark.shape[-3:]) * (params["noise_sigma_255"] / 255)).to(dark)


def _box(plane: Tensor, side: int) -> Tensor:
    """Mean over side×side pixels."""
    height, width = plane.shape[-2:]
    padded = reflect_pad(plane, side // 2)
    rows = padded[..., :height, :].clone()
    for offset in range(1, side):
        rows += padded[..., offset : offset + height, :]
    total = rows[..., :width].clone()
    for offset in range(1, side):
        total += rows[..., offset : offset + width]
    return total / side**2
