"""Colour differences ΔE, by scikit-image."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from uir.metrics.comparison import Comparison, as_rgb
from uir.metrics.libraries import library
from uir.metrics.protocols import Protocol, Rounding
from uir.registry import METRIC_REGISTRY

Formula = Literal["ciede2000", "ciede94", "cie76"]


@METRIC_REGISTRY.register()
class DeltaE(Comparison):
    """Mean colour difference ΔE over the pixels, from 0; about 1 is just noticeable. The mean over a batch.

    The images are sRGB and are converted to CIELAB with the white point D65 (2° observer).

    Args:
        formula: `ciede2000` (CIE 142-2001), `ciede94`, or `cie76`, the Euclidean distance in CIELAB.
        crop_border: pixels left out at each edge.
        rounding: `uint8`, as if both images were saved, or `none`.

    Raises:
        ValueError: an argument is out of range, or scikit-image is not installed.
    """

    label = "ΔE"
    better = "lower"

    def __init__(self, formula: Formula = "ciede2000", crop_border: int = 0, rounding: Rounding = "uint8") -> None:
        if formula not in ("ciede2000", "ciede94", "cie76"):
            raise ValueError(f"formula: expected ciede2000, ciede94 or cie76, got {formula!r}")
        super().__init__(Protocol(crop_border=crop_border, rounding=rounding), formula)
        self._color = library("skimage.color", "DeltaE", "'uir[metrics]' (scikit-image)")
        self._difference = getattr(self._color, f"deltaE_{formula}")

    def scores(self, restored: Tensor, gt: Tensor) -> Tensor:
        """As `Comparison.scores`."""
        arrays = [as_rgb(image).movedim(1, -1).cpu().numpy() for image in (restored, gt)]
        first, second = (self._color.rgb2lab(array) for array in arrays)
        # The reference of the asymmetric formulas stands first.
        return torch.from_numpy(self._difference(second, first)).mean(dim=(1, 2))
