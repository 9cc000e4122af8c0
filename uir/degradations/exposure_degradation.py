"""Changes of exposure and colour, pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.low_light_degradation import power
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

STRONGEST_EV = 4.0
GREY_LEVELS = 2**24  # pixels are summed in units of this


@DEGRADATION_REGISTRY.register()
class Brightness(Degradation):
    """Brightness: V + c in HSV, hue and saturation kept (ImageNet-C, Hendrycks & Dietterich, ICLR 2019).

    Args:
        shift: c, in [-1, 1]; ImageNet-C's five severities are 0.1, 0.2, 0.3, 0.4 and 0.5. Values below 0 darken.
    """

    family: ClassVar[str] = "exposure"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"shift": 0.1}, {"shift": 0.3}, {"shift": 0.5})

    def __init__(self, shift: Numbers = (0.1, 0.5)) -> None:
        self.shift = Values.of("Brightness.shift", shift, -1, 1)

    def sample(self, seed: int, size: Size) -> Params:
        """`shift`; there is no field."""
        return {"shift": self.shift.draw(seed)}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Brightness")
        clear = working(image).clamp(0, 1)
        value = clear.amax(dim=-3, keepdim=True)
        shifted = (value + params["shift"]).clamp(0, 1)
        # with constant hue and saturation all channels grow like V; black has no hue and becomes grey
        changed = torch.where(value > 0, clear * (shifted / value), shifted)
        return changed.clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """|c| divided by 0.5, the largest in ImageNet-C."""
        return float(min(1.0, abs(params["shift"]) / 0.5))


@DEGRADATION_REGISTRY.register()
class Contrast(Degradation):
    """Contrast: I = c·(J − mean) + mean, the mean of each channel over the image (ImageNet-C, Hendrycks, ICLR 2019).

    Args:
        factor: c, at least 0; ImageNet-C's five severities are 0.4, 0.3, 0.2, 0.1 and 0.05. Above 1 the contrast rises.
    """

    family: ClassVar[str] = "exposure"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"factor": 0.4}, {"factor": 0.2}, {"factor": 0.05})

    def __init__(self, factor: Numbers = (0.05, 0.4)) -> None:
        self.factor = Values.of("Contrast.factor", factor, 0)

    def sample(self, seed: int, size: Size) -> Params:
        """`factor`; there is no field."""
        return {"factor": self.factor.draw(seed)}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Contrast")
        clear = working(image)
        rest = channel_mean(clear) * (1 - params["factor"])
        return (clear * params["factor"]).add_(rest).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """|log c| / log 20: 0 at 1, 1 for 1/20 or 20 times the contrast."""
        return min(1.0, abs(math.log(max(params["factor"], 1e-9))) / math.log(20))


@DEGRADATION_REGISTRY.register()
class Saturation(Degradation):
    """Saturation: a·S + b in HSV, hue and V kept (ImageNet-C's saturate, Hendrycks & Dietterich, ICLR 2019).

    ImageNet-C's five severities (a, b): (0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2). Grey has no hue and is
    unchanged (in ImageNet-C it becomes red if b > 0); an image without three channels is also unchanged.

    Args:
        factor: a, at least 0; 0 gives grey.
        offset: b, in [-1, 1].
    """

    family: ClassVar[str] = "colour"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"factor": 0.6}, {"factor": 0.3}, {"factor": 0.1})

    def __init__(self, factor: Numbers = (0.1, 2.0), offset: Numbers = 0.0) -> None:
        self.factor = Values.of("Saturation.factor", factor, 0)
        self.offset = Values.of("Saturation.offset", offset, -1, 1)

    def sample(self, seed: int, size: Size) -> Params:
        """`factor` and `offset`; there is no field."""
        return {"factor": self.factor.draw(seed), "offset": self.offset.draw(seed)}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Saturation")
        clear = working(image).clamp(0, 1)
        if clear.shape[-3] != 3:
            return clear.to(image.dtype, copy=True)
        value = clear.amax(dim=-3, keepdim=True)
        spread = value - clear.amin(dim=-3, keepdim=True)  # V·S
        new_spread = (spread * params["factor"] + value * params["offset"]).clamp(min=0).minimum(value)
        # each channel's difference from V is a fixed fraction of V·S: none for the largest, all for the smallest
        grown = torch.where(spread > 0, new_spread / spread, 0)
        return (value - (value - clear) * grown).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Mean change of S over all S from 0 to 1, divided by its largest possible value, 1/2."""
        steps = [(index + 0.5) / 200 for index in range(200)]
        changed = (min(1.0, max(0.0, params["factor"] * s + params["offset"])) for s in steps)
        return min(1.0, sum(abs(new - s) for new, s in zip(changed, steps, strict=True)) / 100)


@DEGRADATION_REGISTRY.register()
class Exposure(Degradation):
    """Wrong exposure: 2^EV times the light, linear under the sRGB curve of IEC 61966-2-1, then clipped.

    Args:
        ev: stops; below 0 too dark, above too bright. Default: from the smallest to the largest of Afifi et al., CVPR
            2021.
    """

    family: ClassVar[str] = "exposure"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"ev": 1}, {"ev": -2}, {"ev": -4})

    def __init__(self, ev: Numbers = (-1.5, 1.5)) -> None:
        self.ev = Values.of("Exposure.ev", ev)

    def sample(self, seed: int, size: Size) -> Params:
        """`ev`; there is no field."""
        return {"ev": self.ev.draw(seed)}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Exposure")
        light = to_linear(working(image).clamp(0, 1)) * 2.0 ** params["ev"]
        return torch.where(light >= 1, 1.0, to_srgb(light.clamp(0, 1))).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """|EV| divided by 4 stops."""
        return float(min(1.0, abs(params["ev"]) / STRONGEST_EV))


@DEGRADATION_REGISTRY.register()
class Gamma(Degradation):
    """Gamma: I = J^γ (low light by the curve alone in MiOIR, Kong et al., 2024: γ from 1 to 3).

    Args:
        gamma: γ, at least 0.01; values above 1 darken, values below 1 brighten.
    """

    family: ClassVar[str] = "exposure"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"gamma": 1.4}, {"gamma": 2.2}, {"gamma": 4.0})

    def __init__(self, gamma: Numbers = (1.0, 3.0)) -> None:
        self.gamma = Values.of("Gamma.gamma", gamma, 0.01)

    def sample(self, seed: int, size: Size) -> Params:
        """`gamma`; there is no field."""
        return {"gamma": self.gamma.draw(seed)}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Gamma")
        clear = working(image)
        curved = power(clear, params["gamma"]).mul_(clear > 0)  # a small γ would brighten the tiny substitute for black
        return curved.clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """|log γ| / log 5; 5 is the largest γ of Lv et al., IJCV 2021."""
        return min(1.0, abs(math.log(params["gamma"])) / math.log(5))


@DEGRADATION_REGISTRY.register()
class Clip(Degradation):
    """Clip: values below 0 become 0, values above 1 become 1; it ends pipelines with steps of `clip: false`."""

    family: ClassVar[str] = "quantisation"

    def sample(self, seed: int, size: Size) -> Params:
        """Nothing is random."""
        return {}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "Clip")
        return image.clamp(0, 1)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """0: an image in [0, 1] is unchanged."""
        return 0.0


def channel_mean(image: Tensor) -> Tensor:
    """The mean of each channel, [..., C, 1, 1]."""
    # whole numbers: their sum does not depend on the order of summation, so it does not depend on the number of threads
    total = (image * GREY_LEVELS).round_().long().sum(dim=(-2, -1), keepdim=True)
    return (total.to(image.dtype) / GREY_LEVELS) / (image.shape[-2] * image.shape[-1])


def to_linear(display: Tensor) -> Tensor:
    """Linear light of display values in [0, 1] (IEC 61966-2-1)."""
    return torch.where(display <= 0.04045, display / 12.92, power((display + 0.055) / 1.055, 2.4))


def to_srgb(light: Tensor) -> Tensor:
    """Display values of linear light in [0, 1] (IEC 61966-2-1)."""
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * power(light, 1 / 2.4) - 0.055)
