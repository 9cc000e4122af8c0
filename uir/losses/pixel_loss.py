"""Losses on the difference of two images, pixel by pixel. Names, arguments and results are as in BasicSR."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.color import rgb_to_y
from uir.losses.reduction import check_reduction, in_full_precision, matched, reduce_elements
from uir.registry import LOSS_REGISTRY


class _PixelLoss(nn.Module, ABC):
    """Reduces `elementwise` of a pair [B, C, H, W] of images in [0, 1] over all elements.

    Args:
        loss_weight: factor on the result.
        reduction: `mean`, `sum` or `none`.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.loss_weight = loss_weight
        self.reduction = reduction

    @property
    def is_pixel_mean(self) -> bool:
        """Whether the loss is a mean of the pixels' own errors."""
        return self.reduction == "mean"

    @abstractmethod
    def elementwise(self, difference: Tensor) -> Tensor:
        """The loss of each element, from prediction − target."""

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss; `weight` [B, C, H, W] or [B, 1, H, W] gives element weights, and the mean divides by their sum.

        Raises:
            ValueError: the shapes do not fit.
        """
        prediction, target = matched(prediction, target)
        return self.loss_weight * reduce_elements(self.elementwise(prediction - target), weight, self.reduction)


@LOSS_REGISTRY.register()
class L1Loss(_PixelLoss):
    """Mean absolute error of two images."""

    def elementwise(self, difference: Tensor) -> Tensor:
        """|d|"""
        return difference.abs()


@LOSS_REGISTRY.register()
class MSELoss(_PixelLoss):
    """Mean squared error of two images."""

    def elementwise(self, difference: Tensor) -> Tensor:
        """d²"""
        return difference.square()


@LOSS_REGISTRY.register()
class SmoothL1Loss(_PixelLoss):
    """Squared error up to `beta`, then absolute error (Girshick, Fast R-CNN, ICCV 2015, Eq. 3).

    Args:
        loss_weight: factor on the result.
        reduction: `mean`, `sum` or `none`.
        beta: the error where d² / (2·beta) becomes |d| − beta / 2.

    Raises:
        ValueError: `beta` is not above 0.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(loss_weight, reduction)
        if not beta > 0:
            raise ValueError(f"SmoothL1Loss.beta: expected a number above 0, got {beta}")
        self.beta = beta

    def elementwise(self, difference: Tensor) -> Tensor:
        """d² / (2·beta), or |d| − beta / 2."""
        return F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none", beta=self.beta)


@LOSS_REGISTRY.register()
class CharbonnierLoss(_PixelLoss):
    """Charbonnier loss √(d² + eps): L1 that is smooth at 0 (Lai et al., LapSRN, CVPR 2017).

    Args:
        loss_weight: factor on the result.
        reduction: `mean`, `sum` or `none`.
        eps: added to the squared difference; the loss of equal images is √eps.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean", eps: float = 1e-12) -> None:
        super().__init__(loss_weight, reduction)
        if eps <= 0:  # the gradient of √(d² + 0) at d = 0 is not a number
            raise ValueError(f"eps: expected a number above 0, got {eps}")
        self.eps = eps

    def elementwise(self, difference: Tensor) -> Tensor:
        """√(d² + eps)"""
        return (difference.square() + self.eps).sqrt()


@LOSS_REGISTRY.register()
class PSNRLoss(nn.Module):
    """Negative PSNR in dB, 10·log10(MSE + 1e-8), the mean over the batch (Chen et al., NAFNet, ECCV 2022).

    Args:
        loss_weight: factor on the result.
        reduction: only `mean`.
        toY: compare MATLAB's luma (studio range, 16-235) instead of RGB.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean", toY: bool = False) -> None:  # noqa: N803
        super().__init__()
        check_reduction(reduction, ("mean",))
        self.loss_weight = loss_weight
        self.to_y = toY

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of a pair [B, 3, H, W]; it is negative if the PSNR is positive, at least -80.

        Raises:
            ValueError: the shapes differ.
        """
        prediction, target = matched(prediction, target)
        if self.to_y:
            prediction, target = rgb_to_y(prediction), rgb_to_y(target)
        squared_error = (prediction - target).square().flatten(1).mean(dim=1)
        return self.loss_weight * 10 / math.log(10) * torch.log(squared_error + 1e-8).mean()


@LOSS_REGISTRY.register()
class LogL1Loss(nn.Module):
    """log(1 + L1 / eps) of each image, the mean over the batch: every halving of an image's error counts nearly alike.

    A loss of ours for networks that learn many degradations at once. With L1 the large and even errors of dark or hazy
    images rule the common step, and fine noise is learned slowly; with PSNR as a loss nearly clean images rule it. Here
    the weight of an image is 1 / (L1 + eps).

    Args:
        loss_weight: factor on the result.
        eps: errors well below this, for images in [0, 1], count as no error.

    Raises:
        ValueError: `eps` is not above 0.
    """

    def __init__(self, loss_weight: float = 1.0, eps: float = 0.02) -> None:
        super().__init__()
        if not eps > 0:
            raise ValueError(f"LogL1Loss.eps: expected a number above 0, got {eps}")
        self.loss_weight = loss_weight
        self.eps = eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of a pair [B, C, H, W], 0 if they are equal.

        Raises:
            ValueError: the shapes differ.
        """
        prediction, target = matched(prediction, target)
        error = (prediction - target).abs().flatten(1).mean(dim=1)
        return self.loss_weight * torch.log1p(error / self.eps).mean()


@LOSS_REGISTRY.register()
class SplitL1Loss(nn.Module):
    """Mean absolute error of an image's fine part, plus that of the means of its squares with a weight of their own.

    A loss of ours for networks that learn many degradations at once. A wrong brightness errs to the same side
    everywhere, so its gradients add up, while those of noise cancel; with L1 a dark image moves the common weights many
    times as far as a noisy one, and an optimizer like Adam, which divides by the size of the gradients, then learns
    noise slowly. A small `coarse_weight` restores the balance. With `eps`, images are balanced too, as in `LogL1Loss`.

    Args:
        loss_weight: factor on the result.
        coarse_weight: weight of the squares' means.
        cell: side of a square in pixels.
        eps: None for the error itself; else log(1 + error / eps) of each image, the mean over the batch.

    Raises:
        ValueError: `coarse_weight` is negative, `cell` is below 2, or `eps` is not above 0.
    """

    def __init__(
        self, loss_weight: float = 1.0, coarse_weight: float = 0.1, cell: int = 8, eps: float | None = None
    ) -> None:
        super().__init__()
        if not coarse_weight >= 0:
            raise ValueError(f"SplitL1Loss.coarse_weight: expected a number of at least 0, got {coarse_weight}")
        if cell < 2:
            raise ValueError(f"SplitL1Loss.cell: expected at least 2, got {cell}")
        if eps is not None and not eps > 0:
            raise ValueError(f"SplitL1Loss.eps: expected a number above 0, got {eps}")
        self.loss_weight, self.coarse_weight, self.cell, self.eps = loss_weight, coarse_weight, cell, eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of a pair [B, C, H, W]; squares at the right and bottom edge may be cut.

        Raises:
            ValueError: the shapes differ.
        """
        prediction, target = matched(prediction, target)
        error = prediction - target
        coarse = nn.functional.avg_pool2d(error, self.cell, ceil_mode=True, count_include_pad=False)
        spread = coarse.repeat_interleave(self.cell, -2).repeat_interleave(self.cell, -1)
        fine = error - spread[..., : error.shape[-2], : error.shape[-1]]
        of_each = fine.abs().flatten(1).mean(1) + self.coarse_weight * coarse.abs().flatten(1).mean(1)
        if self.eps is not None:
            of_each = torch.log1p(of_each / self.eps)
        return self.loss_weight * of_each.mean()


@LOSS_REGISTRY.register()
class WeightedTVLoss(nn.Module):
    """Total variation of one image: mean absolute difference of neighbours, vertical plus horizontal.

    Args:
        loss_weight: factor on the result.
        reduction: `mean` or `sum`.
    """

    inputs: ClassVar[tuple[str, ...]] = ("restored",)

    def __init__(self, loss_weight: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(reduction, ("mean", "sum"))
        self.loss_weight = loss_weight
        self.reduction = reduction

    def forward(self, prediction: Tensor, weight: Tensor | None = None) -> Tensor:
        """The variation of an image [B, C, H, W]; a pair of neighbours has the weight of the upper or left one.

        Raises:
            ValueError: the weight does not fit, or the image is a single row or column.
        """
        if prediction.ndim != 4 or min(prediction.shape[-2:]) < 2:
            raise ValueError(f"expected an image [B, C, H, W] of at least 2×2 pixels, got {list(prediction.shape)}")
        image = in_full_precision(prediction)
        if weight is not None and weight.shape[-2:] != image.shape[-2:]:
            raise ValueError(
                f"weight: expected {list(image.shape[-2:])} pixels as the image has, got {list(weight.shape)}"
            )
        down, across = image.diff(dim=-2).abs(), image.diff(dim=-1).abs()
        weight_down = None if weight is None else weight[..., :-1, :]
        weight_across = None if weight is None else weight[..., :, :-1]
        variation = reduce_elements(down, weight_down, self.reduction)
        return self.loss_weight * (variation + reduce_elements(across, weight_across, self.reduction))
