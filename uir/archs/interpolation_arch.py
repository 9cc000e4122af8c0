"""Networks without parameters: the baselines for a restorer in `uir test`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from uir.layers.resize import imresize
from uir.registry import ARCH_REGISTRY

if TYPE_CHECKING:
    from uir.layers.features import FeaturePoint


@ARCH_REGISTRY.register()
class Identity(nn.Module):
    """Returns its input [B, C, H, W]: the score of the degraded images themselves."""

    pad_multiple = 1
    scale = 1

    def forward(self, lq: Tensor, code: Any = None) -> Tensor:
        """The unchanged input; `code` is not used."""
        return lq

    def feature_points(self) -> list[FeaturePoint]:
        """An empty list: there are no features."""
        return []


@ARCH_REGISTRY.register()
class Bicubic(nn.Module):
    """Bicubic upscaling as in MATLAB's `imresize`: [B, C, H, W] to [B, C, scale·H, scale·W], not clipped.

    Args:
        scale: a whole number of at least 1.

    Raises:
        ValueError: the scale is out of range.
    """

    pad_multiple = 1

    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        if scale < 1 or scale != int(scale):
            raise ValueError(f"Bicubic.scale: expected a whole number of at least 1, got {scale}")
        self.scale = int(scale)

    def forward(self, lq: Tensor, code: Any = None) -> Tensor:
        """The upscaled image; `code` is not used."""
        return imresize(lq, scale=self.scale)

    def feature_points(self) -> list[FeaturePoint]:
        """An empty list: there are no features."""
        return []
