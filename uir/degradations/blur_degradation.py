"""Blur ops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.filters import filter2d, line_kernel
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY


@DEGRADATION_REGISTRY.register()
class MotionBlur(Degradation):
    """Linear motion blur: the mean over a straight path.

    Reflect padding; lengths up to 25 px in any direction as in Sun et al., CVPR 2015.

    Args:
        length: pixels that the camera travels over, at least 1 (no blur).
        angle: degrees counter-clockwise from the horizontal; a half turn covers every direction.
    """

    def __init__(self, length: Numbers = (5.0, 25.0), angle: Numbers = (-90.0, 90.0)) -> None:
        self.length = Values.of("MotionBlur.length", length, 1)
        self.angle = Values.of("MotionBlur.angle", angle)

    def sample(self, seed: int, size: Size) -> Params:
        """`length_px` and `angle_deg`; there is no field."""
        return {"length_px": self.length.draw(seed), "angle_deg": self.angle.draw(seed)}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "MotionBlur")
        kernel = line_kernel(params["length_px"], params["angle_deg"])
        return filter2d(working(image), kernel).clamp(0, 1).to(image.dtype)
