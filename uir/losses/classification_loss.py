"""Losses on the logits of a degradation classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.losses.reduction import check_reduction, in_full_precision
from uir.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class FocalLoss(nn.Module):
    """Cross-entropy with more weight on hard samples: −α_t (1 − p_t)^γ log p_t (Lin et al., ICCV 2017, Eq. 5).

    p_t is the softmax probability of the true class. With gamma 0 this is the cross-entropy; DCPT uses 2.

    Args:
        gamma: focus on hard samples, at least 0.
        alpha: a weight for every class; None gives all classes the same weight. The mean does not divide by it.
        loss_weight: factor on the result.
        reduction: `mean` (over the samples that count), `sum` or `none`.
        ignore_index: samples with this label do not count; `none` gives 0 for them.

    Raises:
        ValueError: gamma is negative, or the reduction is unknown.
    """

    alpha: Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        reduction: str = "mean",
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        if gamma < 0:
            raise ValueError(f"gamma: expected at least 0, got {gamma}")
        self.gamma = gamma
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.ignore_index = ignore_index
        weights = None if alpha is None else torch.as_tensor(alpha, dtype=torch.float32)
        self.register_buffer("alpha", weights, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [B, K] and class indices [B].

        Raises:
            ValueError: the shapes do not fit, a label is out of range, or alpha does not have K weights.
        """
        logits = _checked(logits, target, self.ignore_index)
        if self.alpha is not None and len(self.alpha) != logits.shape[1]:
            raise ValueError(f"alpha: expected {logits.shape[1]} weights, one for each class, got {len(self.alpha)}")
        counted = target != self.ignore_index
        labels = target.where(counted, 0).long()
        log_probability = logits.log_softmax(1).gather(1, labels[:, None]).squeeze(1)
        # expm1: near certainty, rounding of p would lose 1 − p, and at 0 its power has almost no gradient
        missing = (-torch.expm1(log_probability)).clamp_min(torch.finfo(logits.dtype).tiny)
        elements = -missing.pow(self.gamma) * log_probability
        if self.alpha is not None:
            elements = elements * self.alpha.to(elements)[labels]
        return self.loss_weight * _reduced(elements.where(counted, 0), counted, self.reduction)


@LOSS_REGISTRY.register()
class CrossEntropyLoss(nn.Module):
    """Cross-entropy of a softmax classifier.

    Args:
        loss_weight: factor on the result.
        reduction: `mean` (over the samples that count), `sum` or `none`.
        label_smoothing: fraction of the target that is spread evenly over all classes, in [0, 1).
        ignore_index: samples with this label do not count; `none` gives 0 for them.

    Raises:
        ValueError: the smoothing is out of range, or the reduction is unknown.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: expected a number in [0, 1), got {label_smoothing}")
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [B, K] and class indices [B].

        Raises:
            ValueError: the shapes do not fit, or a label is out of range.
        """
        logits = _checked(logits, target, self.ignore_index)
        elements = F.cross_entropy(
            logits,
            target.long(),
            ignore_index=self.ignore_index,
            reduction="none",
            label_smoothing=self.label_smoothing,
        )
        return self.loss_weight * _reduced(elements, target != self.ignore_index, self.reduction)


@LOSS_REGISTRY.register()
class MultiLabelBCELoss(nn.Module):
    """Binary cross-entropy for every class separately, for images with several degradations.

    Args:
        loss_weight: factor on the result.
        reduction: `mean` (over the elements that count), `sum` or `none`.
        pos_weight: a weight for the positives of every class, to balance rare ones; None gives all the same weight.

    Raises:
        ValueError: the reduction is unknown.
    """

    pos_weight: Tensor | None

    def __init__(
        self, loss_weight: float = 1.0, reduction: str = "mean", pos_weight: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        self.loss_weight = loss_weight
        self.reduction = reduction
        weights = None if pos_weight is None else torch.as_tensor(pos_weight, dtype=torch.float32)
        self.register_buffer("pos_weight", weights, persistent=False)

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of logits [B, K] and targets [B, K] in [0, 1]; `mask` [B, K] or [B, 1] is 0 for unknown targets.

        Raises:
            ValueError: the shapes do not fit, or a target is outside of [0, 1].
        """
        if logits.ndim != 2 or target.shape != logits.shape:
            raise ValueError(
                f"expected logits and targets of equal shape [B, K], got {list(logits.shape)} and {list(target.shape)}"
            )
        if target.numel() and not 0 <= target.min() <= target.max() <= 1:
            raise ValueError(f"target: expected values in [0, 1], got {float(target.min())} to {float(target.max())}")
        if mask is not None and mask.shape not in (logits.shape, logits.shape[:1] + (1,)):
            raise ValueError(
                f"mask: expected [B, K] or [B, 1] as the logits {list(logits.shape)}, got {list(mask.shape)}"
            )
        if self.pos_weight is not None and len(self.pos_weight) != logits.shape[1]:
            raise ValueError(f"pos_weight: expected {logits.shape[1]} weights, got {len(self.pos_weight)}")
        logits = in_full_precision(logits)
        weights = None if self.pos_weight is None else self.pos_weight.to(logits)
        elements = F.binary_cross_entropy_with_logits(logits, target.to(logits), pos_weight=weights, reduction="none")
        counted = torch.ones_like(elements, dtype=torch.bool) if mask is None else (mask != 0).expand_as(elements)
        return self.loss_weight * _reduced(elements.where(counted, 0), counted, self.reduction)


def _checked(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """The logits [B, K], at least float32, after a check of the labels."""
    if logits.ndim != 2 or target.shape != logits.shape[:1] or target.is_floating_point():
        raise ValueError(
            f"expected logits [B, K] and integer labels [B], got {list(logits.shape)} and {target.dtype} "
            f"{list(target.shape)}"
        )
    wrong = (target != ignore_index) & ((target < 0) | (target >= logits.shape[1]))
    if wrong.any():
        raise ValueError(f"label {int(target[wrong][0])} is out of range: the classifier has {logits.shape[1]} classes")
    return in_full_precision(logits)


def _reduced(elements: Tensor, counted: Tensor, reduction: str) -> Tensor:
    """`mean` over the counted elements (0 if there are none), `sum`, or all; elements that do not count are 0."""
    if reduction == "none":
        return elements
    return elements.sum() if reduction == "sum" else elements.sum() / counted.sum().clamp_min(1)
