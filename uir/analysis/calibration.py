"""Probabilities that are as often right as they say: the temperature of a classifier, and how far it is off."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """The temperature that makes a classifier's probabilities fit best (Guo et al., ICML 2017, section 4.2).

    It minimises the cross-entropy of softmax(logits / T), or of sigmoid(logits / T) where several classes can be true.
    Dividing by T changes no order, so no answer.

    Args:
        logits: [N, K], of images that were not learned from.
        target: class indices [N], or 0 and 1 for each class [N, K].

    Returns:
        T in [0.05, 20]; above 1 if the classifier is too sure.

    Raises:
        ValueError: there are no images.
    """
    if len(logits) == 0:
        raise ValueError("fit_temperature: there are no images")
    logits, exponent = logits.double(), torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([exponent], max_iter=100, line_search_fn="strong_wolfe")
    loss_of = F.cross_entropy if target.ndim == 1 else F.binary_cross_entropy_with_logits
    target = target if target.ndim == 1 else target.double()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(logits / exponent.exp(), target)
        loss.backward()
        return loss

    optimizer.step(closure)
    return min(max(float(exponent.detach().exp()), 0.05), 20.0)


def calibration_error(confidence: Tensor, right: Tensor, bins: int = 10) -> float:
    """The expected calibration error: mean |frequency − probability| of equal bins, by their sizes (Guo et al., 2017).

    Args:
        confidence: [N], the probability of each answer, in [0, 1].
        right: bool [N], whether the answer is right.
        bins: number of bins.

    Raises:
        ValueError: there are no answers.
    """
    if len(confidence) == 0:
        raise ValueError("calibration_error: there are no answers")
    place = (confidence * bins).long().clamp(0, bins - 1)
    gaps = [
        float((confidence[place == number].mean() - right[place == number].double().mean()).abs())
        * int((place == number).sum())
        for number in place.unique().tolist()
    ]
    return sum(gaps) / len(confidence)
