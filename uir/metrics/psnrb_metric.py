"""PSNR with a penalty for the edges of blocks (Yim and Bovik, IEEE TIP 2011), by torchmetrics."""

from __future__ import annotations

import torch
from torch import Tensor

from uir.metrics.comparison import Comparison
from uir.metrics.libraries import library
from uir.metrics.protocols import ColorSpace, Protocol, Rounding
from uir.registry import METRIC_REGISTRY


@METRIC_REGISTRY.register()
class PSNRB(Comparison):
    """PSNR-B in dB, for JPEG restoration: PSNR whose error grows by the steps at the edges of 8×8 blocks.

    Args:
        crop_border: pixels left out at each edge, a multiple of `block_size`, so that the blocks stay where they are.
        color_space: `y`, MATLAB's BT.601 luma (studio range), or `rgb`, the mean over three channels.
        rounding: `uint8`, as if both images were saved, or `none`.
        block_size: pixels of a block's side, as the codec has it.

    Raises:
        ValueError: an argument is out of range, or torchmetrics is not installed.
    """

    label = "PSNR-B"

    def __init__(
        self,
        crop_border: int = 0,
        color_space: ColorSpace = "y",
        rounding: Rounding = "uint8",
        block_size: int = 8,
    ) -> None:
        if block_size < 2:
            raise ValueError(f"block_size: expected at least 2 pixels, got {block_size}")
        settings = Protocol(crop_border=crop_border, color_space=color_space, rounding=rounding)
        if crop_border % block_size:
            raise ValueError(
                f"crop_border: expected a multiple of the blocks' {block_size} pixels, got {crop_border}; another "
                "border would move the blocks"
            )
        super().__init__(settings, f"blocks of {block_size}")
        self.block_size = block_size
        self._compute = library("torchmetrics.functional.image", "PSNRB").peak_signal_noise_ratio_with_blocked_effect

    def scores(self, restored: Tensor, gt: Tensor) -> Tensor:
        """As `Comparison.scores`; infinite for identical images without steps at the blocks.

        Raises:
            ValueError: the images are not larger than a block.
        """
        height, width = restored.shape[-2:]
        if min(height, width) <= self.block_size:
            raise ValueError(f"PSNRB needs more than {self.block_size}×{self.block_size} pixels, got {height}×{width}")
        # torchmetrics sums a batch up as one image, and takes one channel.
        planes = zip(restored.flatten(0, 1), gt.flatten(0, 1), strict=True)
        scores = [self._compute(x[None, None], y[None, None], 255.0, self.block_size) for x, y in planes]
        return torch.stack(scores).view(restored.shape[:2]).mean(dim=1)
