"""Rain: additive streaks by the recipe of MiOIR and AgenticIR, and heavy rain with a veil of many streaks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from uir.core.seeds import derive_seed
from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.field_files import FieldFiles, read_field
from uir.degradations.fields import spread, uniform
from uir.degradations.kernels import gaussian_kernel_1d, line_kernel
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

DROP_KERNEL = torch.tensor([[0.0, 0.1, 0.0], [0.1, 8.0, 0.1], [0.0, 0.1, 0.0]])
STRONGEST_AMOUNT = 100.0  # MiOIR
MOST_LAYERS = 5  # Rain100H


@DEGRADATION_REGISTRY.register()
class RainStreaks(Degradation):
    """Rain streaks: I = clip(J + S), S random drops smeared along one direction.

    The recipe and ranges of MiOIR (Kong et al., 2024) and AgenticIR (Zhu et al., 2025; it keeps the angle within ±30).

    Args:
        amount: v; a pixel of uniform noise on [0, 256) is a drop if it exceeds 256 − 0.01·v, in [0, 25600].
        length: pixels that a drop is smeared over, at least 1.
        angle: degrees from the vertical; positive leans the streak's lower end to the right.
        width: side in pixels of the Gaussian that widens a streak, odd; default {choice: [3, 5, 7, 9, 11]}.
        strength: brightness of the brightest streak, in [0, 1]; 1 as published. It also multiplies a mask from a file.
        mask: a file that contains S instead, or a folder of them (grey images or `.npy` arrays [H, W], resized to the
            image), as in CDD-11. The record contains its name.
        clip: clip the result to [0, 1]; false for the composites of CDD-11, where later steps use values above 1.
    """

    family: ClassVar[str] = "rain"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"amount": 30, "length": 15, "width": 3, "strength": 0.6, "angle": 15},
        {"amount": 60, "length": 25, "width": 3, "strength": 0.8, "angle": 15},
        {"amount": 100, "length": 40, "width": 5, "angle": 15},
    )

    def __init__(
        self,
        amount: Numbers = (50.0, 100.0),
        length: Numbers = (20.0, 40.0),
        angle: Numbers = (-45.0, 45.0),
        width: Numbers | None = None,
        strength: Numbers = 1.0,
        mask: Path | None = None,
        clip: bool = True,
    ) -> None:
        self.layer = StreakValues("RainStreaks", amount, length, angle, width, strength)
        self.mask = FieldFiles.of("RainStreaks.mask", mask)
        if not isinstance(clip, bool):
            raise ValueError(f"RainStreaks.clip: expected true or false, got {clip!r}")
        self.clip = clip

    def sample(self, seed: int, size: Size) -> Params:
        """`amount`, `length_px`, `angle_deg`, `width_px`, `seed`, or `mask_file` instead; `strength` and `clip`."""
        if self.mask is not None:
            strength = self.layer.strength.draw(seed)
            return {"mask_file": self.mask.draw(seed), "strength": strength, "clip": self.clip}
        return {**self.layer.draw(seed), "clip": self.clip, "seed": seed}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`. Values may be above 1 if `clip` is false."""
        check_image(image, "RainStreaks")
        height, width = image.shape[-2:]
        clear = working(image)
        rainy = clear + streaks(params, (height, width)).to(clear)
        return (rainy.clamp_(0, 1) if params["clip"] else rainy).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Strength times the fraction of drops, divided by 100 (the most of MiOIR); a file's mask counts as 100."""
        return float(params["strength"] * min(1.0, params.get("amount", STRONGEST_AMOUNT) / STRONGEST_AMOUNT))


@DEGRADATION_REGISTRY.register()
class HeavyRain(Degradation):
    """Heavy rain: I = α·(J + Σ Sₜ) + (1 − α)·A, layers of streaks with a veil (Yang et al., CVPR 2017).

    The streaks of each layer are those of `RainStreaks`; each layer has its own direction, length and width. The paper
    gives the model and the number of directions, but not the other ranges; those are chosen here.

    Args:
        layers: number of layers, at least 1; Rain100H has five directions.
        amount, length, angle, width: see `RainStreaks`; drawn for each layer.
        strength: brightness of the brightest streak of a layer, in [0, 1].
        alpha: α, fraction of the light that passes the veil, in [0, 1].
        airlight: A, brightness of the veil, in [0, 1].
    """

    family: ClassVar[str] = "rain"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"layers": 2, "alpha": 0.9, "strength": 0.5, "amount": 60},
        {"layers": 3, "alpha": 0.75, "strength": 0.7, "amount": 80},
        {"layers": 5, "alpha": 0.6, "strength": 0.9, "amount": 100},
    )

    def __init__(
        self,
        layers: Numbers = (2, 5),
        amount: Numbers = (50.0, 100.0),
        length: Numbers = (15.0, 40.0),
        angle: Numbers = (-30.0, 30.0),
        width: Numbers | None = None,
        strength: Numbers = (0.5, 0.9),
        alpha: Numbers = (0.6, 0.9),
        airlight: Numbers = (0.6, 0.9),
    ) -> None:
        self.layers = Values.of("HeavyRain.layers", layers, 1, integer=True)
        widths: Numbers = {"choice": [3, 5, 7]} if width is None else width
        self.layer = StreakValues("HeavyRain", amount, length, angle, widths, strength)
        self.alpha = Values.of("HeavyRain.alpha", alpha, 0, 1)
        self.airlight = Values.of("HeavyRain.airlight", airlight, 0, 1)

    def sample(self, seed: int, size: Size) -> Params:
        """`alpha`, `airlight` and `layers`, a list of the parameters of `RainStreaks`, each with its `seed`."""
        seeds = [derive_seed(seed, "layer", index) for index in range(int(self.layers.draw(seed)))]
        return {
            "alpha": self.alpha.draw(seed),
            "airlight": self.airlight.draw(seed),
            "layers": [{**self.layer.draw(own), "seed": own} for own in seeds],
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "HeavyRain")
        height, width = image.shape[-2:]
        clear = working(image)
        rain = torch.zeros(1, height, width)
        for layer in params["layers"]:
            rain += streaks(layer, (height, width))
        veil = params["alpha"] * rain + (1 - params["alpha"]) * params["airlight"]
        return (params["alpha"] * clear).add_(veil.to(clear)).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """1 − α·(1 − s), s the mean severity of five layers of `RainStreaks` (missing layers count as 0)."""
        layers = sum(RainStreaks.severity(layer) for layer in params["layers"]) / MOST_LAYERS
        return 1 - params["alpha"] * (1 - min(1.0, layers))


class StreakValues:
    """The checked parameters of a layer of streaks; see `RainStreaks` for their meaning."""

    def __init__(
        self, op: str, amount: Numbers, length: Numbers, angle: Numbers, width: Numbers | None, strength: Numbers
    ) -> None:
        self.amount = Values.of(f"{op}.amount", amount, 0, 25600)
        self.length = Values.of(f"{op}.length", length, 1)
        self.angle = Values.of(f"{op}.angle", angle)
        widths: Numbers = {"choice": [3, 5, 7, 9, 11]} if width is None else width
        self.width = Values.of(f"{op}.width", widths, 1, integer=True)
        if self.width.kind == "uniform" or any(side % 2 == 0 for side in self.width.numbers):
            raise ValueError(f"{op}.width: expected an odd number or {{choice: [odd numbers]}}, got {width!r}")
        self.strength = Values.of(f"{op}.strength", strength, 0, 1)

    def draw(self, seed: int) -> Params:
        """`amount`, `length_px`, `angle_deg`, `width_px` and `strength`."""
        return {
            "amount": self.amount.draw(seed),
            "length_px": self.length.draw(seed),
            "angle_deg": self.angle.draw(seed),
            "width_px": self.width.draw(seed),
            "strength": self.strength.draw(seed),
        }


def streaks(params: Mapping[str, Any], size: Size) -> Tensor:
    """The rain layer S ≥ 0 to add, [1, H, W] on the CPU; its maximum is `strength` if there is at least one drop.

    Drops are also drawn on a margin around the image, so that streaks enter from outside.
    """
    if "mask_file" in params:
        return params["strength"] * read_field("RainStreaks.mask", params["mask_file"], size)
    kernels = [DROP_KERNEL, *streak_kernels(params["length_px"], params["angle_deg"], params["width_px"])]
    height = size[0] + sum(kernel.shape[0] - 1 for kernel in kernels)
    width = size[1] + sum(kernel.shape[1] - 1 for kernel in kernels)
    noise = 256 * uniform(params, 1, height, width).cpu()
    layer = torch.where(noise > 256 - 0.01 * params["amount"], noise, 0.0)
    for kernel in kernels:
        layer = _smear(layer, kernel)
    return params["strength"] * spread(layer)


def streak_kernels(length_px: float, angle_deg: float, width_px: int) -> list[Tensor]:
    """The kernels that turn a drop into a streak: a vertical and a horizontal Gaussian, then a line at `angle_deg`.

    Each sums to 1. The Gaussian's σ follows from its side as in OpenCV: 0.3·((side − 1)/2 − 1) + 0.8.
    """
    profile = gaussian_kernel_1d(width_px, 0.3 * ((width_px - 1) / 2 - 1) + 0.8)
    return [profile[:, None], profile[None, :], line_kernel(length_px, 90 + angle_deg)]


def _smear(layer: Tensor, kernel: Tensor) -> Tensor:
    """Correlate [1, H, W] with [K, L] without padding, value by value: a line has few, and 0 stays 0 without drops."""
    rows, columns = (length - side + 1 for length, side in zip(layer.shape[-2:], kernel.shape, strict=True))
    total = torch.zeros(1, rows, columns)
    for row, column in kernel.nonzero().tolist():
        total.add_(layer[:, row : row + rows, column : column + columns], alpha=float(kernel[row, column]))
    return total
