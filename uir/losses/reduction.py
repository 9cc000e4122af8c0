"""The common part of the pixel-wise losses: checking the pair, weighting elements, reducing to a scalar."""

from __future__ import annotations

import torch
from torch import Tensor

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    """Raise ValueError unless `reduction` is one of `allowed`."""
    if reduction not in allowed:
        raise ValueError(f"reduction: expected {', '.join(allowed)}, got {reduction!r}")


def matched(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors in float32 or float64: a mean over many half-precision elements is not accurate.

    Raises:
        ValueError: the shapes differ; broadcasting one to the other would hide a mistake.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"the prediction {list(prediction.shape)} and its target {list(target.shape)} differ in shape; "
            "check the network's scale and gt_size"
        )
    return in_full_precision(prediction), in_full_precision(target)


def in_full_precision(tensor: Tensor) -> Tensor:
    """float64 unchanged, everything else as float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def reduce_elements(elements: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Weight and reduce a loss [B, C, H, W].

    Args:
        elements: the loss of each element.
        weight: weights with as many dimensions, each of the same length or 1 (one channel for all), or None.
        reduction: `none` keeps the elements, `sum` adds them, `mean` is Σ(loss·weight) / Σ(weight).

    Raises:
        ValueError: the weight does not fit.
    """
    if weight is not None:
        try:
            weight = weight.expand_as(elements) if weight.ndim == elements.ndim else None
        except RuntimeError:
            weight = None
        if weight is None:
            raise ValueError(f"weight: expected the shape {list(elements.shape)}, or 1 along some dimensions")
        elements = elements * weight
    if reduction == "none":
        return elements
    if reduction == "sum":
        return elements.sum()
    return elements.mean() if weight is None else elements.sum() / weight.sum()
