"""Losses on the Fourier spectrum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from uir.losses.reduction import check_reduction, matched
from uir.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class FFTLoss(nn.Module):
    """L1 distance of two spectra; real and imaginary parts count separately (Cho et al., MIMO-UNet, ICCV 2021).

    The spectrum is the unnormalised `rfft2`: the loss grows with the image, and papers use a weight of 0.1 or less.

    Args:
        loss_weight: factor on the result.
        reduction: `mean`, `sum` or `none`.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.loss_weight = loss_weight
        self.reduction = reduction

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of a pair [B, C, H, W]; with `none`, [B, C, H, W // 2 + 1, 2].

        Raises:
            ValueError: the shapes differ.
        """
        prediction, target = matched(prediction, target)
        # The transform is linear, so one transform of the difference is enough.
        elements = torch.view_as_real(torch.fft.rfft2(prediction - target)).abs()
        if self.reduction == "none":
            return self.loss_weight * elements
        return self.loss_weight * (elements.mean() if self.reduction == "mean" else elements.sum())
