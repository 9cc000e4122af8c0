"""Measures of the layout of codes: silhouette, alignment and uniformity on the unit sphere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from uir.analysis.extras import sklearn_part


def squared_distances(features: Tensor) -> Tensor:
    """Squared distances [N, N] in [0, 4] between features [N, D] that are scaled to the unit sphere; float64."""
    unit = F.normalize(features.double(), dim=1)
    squared = (2 - 2 * unit @ unit.T).clamp(0, 4)
    return squared.fill_diagonal_(0)


def alignment(features: Tensor, labels: Sequence[int], alpha: float = 2.0) -> float:
    """Mean distance, to the power of `alpha`, between pairs of one class; lower is better.

    L_align of Wang & Isola, "Understanding contrastive representation learning through alignment and uniformity on the
    hypersphere" (ICML 2020), equation 2; positive pairs are any two different samples of one class.

    Args:
        features: [N, D].
        labels: class of each feature.
        alpha: the paper uses 2.

    Raises:
        ValueError: no class has two samples.
    """
    kinds = torch.as_tensor(labels)
    pairs = torch.triu(kinds[:, None] == kinds[None], diagonal=1)
    if not pairs.any():
        raise ValueError("alignment: needs a class with at least two samples")
    return float(squared_distances(features)[pairs].pow(alpha / 2).mean())


def uniformity(features: Tensor, t: float = 2.0) -> float:
    """Logarithm of the mean Gaussian potential exp(-t·distance²) of all pairs; lower is better, 0 is a single point.

    L_uniform of Wang & Isola (ICML 2020), equation 3.

    Args:
        features: [N, D], N at least 2.
        t: the paper uses 2.
    """
    rows, columns = torch.triu_indices(len(features), len(features), offset=1)
    return float((-t * squared_distances(features)[rows, columns]).exp().mean().log())


def silhouette(features: Tensor, labels: Sequence[int]) -> float:
    """Mean silhouette (Rousseeuw 1987) of the classes in [-1, 1], by distance on the unit sphere; higher is better.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    distances = squared_distances(features).sqrt().numpy()
    return float(sklearn_part("metrics").silhouette_score(distances, list(labels), metric="precomputed"))
