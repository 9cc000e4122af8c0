"""Multi-scale structural similarity (Wang, Simoncelli and Bovik, Asilomar 2003), by torchmetrics."""

from __future__ import annotations

from torch import Tensor

from uir.metrics.comparison import Comparison
from uir.metrics.libraries import library
from uir.metrics.protocols import ColorSpace, Protocol, Rounding
from uir.registry import METRIC_REGISTRY

LEAST_PIXELS = 176
"""At the smallest of five scales, a sixteenth of the size, an 11×11 window has to fit."""


@METRIC_REGISTRY.register()
class MSSSIM(Comparison):
    """Multi-scale structural similarity at five scales, at most 1; the mean over a batch.

    The window is 11×11 with σ 1.5, each scale halves the last by 2×2 means, and the weights are the paper's. As in
    torchmetrics, the smallest scale continues beyond its border, mirrored; elsewhere only complete windows count.

    Args:
        crop_border: pixels left out at each edge.
        color_space: `rgb` or `y`, MATLAB's BT.601 luma (studio range).
        rounding: `uint8`, as if both images were saved, or `none`.

    Raises:
        ValueError: an argument is out of range, or torchmetrics is not installed.
    """

    label = "MS-SSIM"

    def __init__(self, crop_border: int = 0, color_space: ColorSpace = "rgb", rounding: Rounding = "uint8") -> None:
        super().__init__(Protocol(crop_border=crop_border, color_space=color_space, rounding=rounding))
        self._compute = library(
            "torchmetrics.functional.image", "MSSSIM"
        ).multiscale_structural_similarity_index_measure

    def scores(self, restored: Tensor, gt: Tensor) -> Tensor:
        """As `Comparison.scores`.

        Raises:
            ValueError: the images are smaller than 176×176 pixels.
        """
        height, width = restored.shape[-2:]
        if min(height, width) < LEAST_PIXELS:
            raise ValueError(
                f"MSSSIM needs at least {LEAST_PIXELS}×{LEAST_PIXELS} pixels within the border, got {height}×{width}; "
                "SSIM measures smaller images"
            )
        if (
            restored.device.type == "cpu"
        ):  # fifty times as fast, and off by 1e-6; a GPU's short floats would be off by more
            restored, gt = restored.float(), gt.float()
        similarity: Tensor = self._compute(restored, gt, data_range=255.0, normalize="relu", reduction="none")
        return similarity
