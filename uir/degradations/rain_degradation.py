"""Rain streaks by the additive recipe of MiOIR and AgenticIR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.fields import spread
from uir.degradations.filters import filter_valid, gaussian_kernel_1d, line_kernel
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY
from uir.seeds import torch_generator

DROP_KERNEL = torch.tensor([[0.0, 0.1, 0.0], [0.1, 8.0, 0.1], [0.0, 0.1, 0.0]])


@DEGRADATION_REGISTRY.register()
class RainStreaks(Degradation):
    """Rain streaks: I = clip(J + S), S random drops smeared along one direction.

    The recipe and ranges of MiOIR (Kong et al., 2024) and AgenticIR (Zhu et al., 2025; it keeps the angle within ±30).

    Args:
        amount: v; a pixel of uniform noise on [0, 256) is a drop if it exceeds 256 − 0.01·v, in [0, 25600].
        length: pixels that a drop is smeared over, at least 1.
        angle: degrees from the vertical; positive leans the streak's lower end to the right.
        width: side in pixels of the Gaussian that widens a streak, odd; default {choice: [3, 5, 7, 9, 11]}.
        strength: brightness of the brightest streak, in [0, 1]; 1 as published.
    """

    def __init__(
        self,
        amount: Numbers = (50.0, 100.0),
        length: Numbers = (20.0, 40.0),
        angle: Numbers = (-45.0, 45.0),
        width: Numbers | None = None,
        strength: Numbers = 1.0,
    ) -> None:
        self.amount = Values.of("RainStreaks.amount", amount, 0, 25600)
        self.length = Values.of("RainStreaks.length", length, 1)
        self.angle = Values.of("RainStreaks.angle", angle)
        widths: Numbers = {"choice": [3, 5, 7, 9, 11]} if width is None else width
        self.width = Values.of("RainStreaks.width", widths, 1, integer=True)
        if self.width.kind == "uniform" or any(side % 2 == 0 for side in self.width.numbers):
            raise ValueError(f"RainStreaks.width: expected an odd number or {{choice: [odd numbers]}}, got {width!r}")
        self.strength = Values.of("RainStreaks.strength", strength, 0, 1)

    def sample(self, seed: int, size: Size) -> Params:
        """`amount`, `length_px`, `angle_deg`, `width_px`, `strength` and `seed`."""
        return {
            "amount": self.amount.draw(seed),
            "length_px": self.length.draw(seed),
            "angle_deg": self.angle.draw(seed),
            "width_px": self.width.draw(seed),
            "strength": self.strength.draw(seed),
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "RainStreaks")
        height, width = image.shape[-2:]
        clear = working(image)
        return (clear + streaks(params, (height, width)).to(clear)).clamp(0, 1).to(image.dtype)


def streaks(params: Mapping[str, Any], size: Size) -> Tensor:
    """The rain layer S ≥ 0 that is added, [1, H, W] on the CPU; its maximum is `strength` where there is any drop.

    Drops are drawn on a margin around the image too, so that streaks enter from outside.
    """
    kernels = [DROP_KERNEL, *streak_kernels(params["length_px"], params["angle_deg"], params["width_px"])]
    height = size[0] + sum(kernel.shape[0] - 1 for kernel in kernels)
    width = size[1] + sum(kernel.shape[1] - 1 for kernel in kernels)
    noise = 256 * torch.rand(1, height, width, generator=torch_generator(params["seed"]))
    layer = torch.where(noise > 256 - 0.01 * params["amount"], noise, 0.0)
    for kernel in kernels:
        layer = filter_valid(layer, kernel)
    return params["strength"] * spread(layer)


def streak_kernels(length_px: float, angle_deg: float, width_px: int) -> list[Tensor]:
    """What makes a streak of a drop: a Gaussian down, one across, then a line `angle_deg` off the vertical.

    Each sums to 1. The Gaussian's σ follows from its side as in OpenCV: 0.3·((side − 1)/2 − 1) + 0.8.
    """
    profile = gaussian_kernel_1d(width_px, 0.3 * ((width_px - 1) / 2 - 1) + 0.8)
    return [profile[:, None], profile[None, :], line_kernel(length_px, 90 + angle_deg)]
