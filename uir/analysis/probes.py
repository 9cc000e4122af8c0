"""Probes: how well features show the degradation, by nearest neighbours or by a linear classifier."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from uir.analysis.extras import sklearn_part
from uir.analysis.patches import DegradedPatches
from uir.analysis.representation import alignment, silhouette, uniformity
from uir.core.seeds import derive_seed

ProbeKind = Literal["knn", "linear"]
SPLIT_SEEDS = (0, 223, 929, 1234, 10086)
"""Seeds of the five splits of DCPT's published kNN script (Hu et al., ICLR 2025)."""
TEST_SHARE = 0.33
"""Fraction of the photographs that is used for testing, as published."""


@dataclass(frozen=True)
class LevelResult:
    """The result of a probe on the features of one level.

    Attributes:
        level: name of the level.
        dimensions: D of its features.
        accuracies: fraction of right answers in each split.
        confusion: tested patches of all splits, rows the true classes, columns the answers.
        layout: silhouette, alignment and uniformity of all patches (see `uir.analysis.representation`); empty for a
            linear probe.
    """

    level: str
    dimensions: int
    accuracies: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]
    layout: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Mean accuracy over the splits."""
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float | None:
        """Sample deviation of the accuracy over the splits; None for a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """The result in plain JSON types."""
        return {
            "level": self.level,
            "dimensions": self.dimensions,
            "accuracy": self.mean,
            "deviation": self.deviation,
            "accuracies": list(self.accuracies),
            "confusion": [list(row) for row in self.confusion],
            **self.layout,
        }


def probe_features(
    features: Mapping[str, Tensor], patches: DegradedPatches, kind: ProbeKind = "knn", k: int = 5, splits: int = 5
) -> list[LevelResult]:
    """Probe every level: fit on two thirds of the photographs and answer for the patches of the others, in each split.

    No photograph is in both parts of a split. (In DCPT's published script each class has other photographs, so their
    content gives the class away; its numbers are not comparable.)

    Args:
        features: [N, D] by level, in the order of `patches`.
        patches: the patches of the features.
        kind: `knn`: k nearest neighbours by Euclidean distance, as published; it also measures the features' layout.
            `linear`: logistic regression on standardised features.
        k: number of neighbours.
        splits: number of splits; the published seeds come first.

    Raises:
        ValueError: `splits` is below 1, or there are fewer fitted patches than neighbours.
        ImportError: scikit-learn is not installed.
    """
    parts = split_by_photograph(patches, splits)
    if kind == "knn" and not 1 <= k <= len(parts[0][0]):
        raise ValueError(f"k: got {k}; expected 1 to {len(parts[0][0])}, the number of patches used for fitting")
    make = (lambda: _nearest_neighbours(k)) if kind == "knn" else _linear_classifier
    return [_probe(level, values, patches, make, parts, kind == "knn") for level, values in features.items()]


def split_by_photograph(patches: DegradedPatches, splits: int = 5) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices of the fitted and the tested patches of each split; the patches of a photograph stay together.

    Raises:
        ValueError: `splits` is below 1.
    """
    if splits < 1:
        raise ValueError(f"splits: got {splits}; expected at least 1")
    splitter = sklearn_part("model_selection").GroupShuffleSplit
    labels, groups = patches.labels, patches.groups
    parts = []
    for seed in split_seeds(splits):
        halves = splitter(n_splits=1, test_size=TEST_SHARE, random_state=seed).split(labels, labels, groups)
        parts.append(next(iter(halves)))
    return parts


def split_seeds(splits: int) -> list[int]:
    """The published seeds, followed by further ones."""
    further = [derive_seed("split", number) % 2**32 for number in range(len(SPLIT_SEEDS), splits)]
    return [*SPLIT_SEEDS[:splits], *further]


def _probe(
    level: str,
    features: Tensor,
    patches: DegradedPatches,
    make: Callable[[], Any],
    parts: Sequence[tuple[np.ndarray, np.ndarray]],
    describe: bool,
) -> LevelResult:
    values, labels = features.numpy(), np.array(patches.labels)
    confusion = np.zeros((len(patches.classes),) * 2, int)
    accuracies = []
    for fitted, tested in parts:
        answers = make().fit(values[fitted], labels[fitted]).predict(values[tested])
        accuracies.append(float((answers == labels[tested]).mean()))
        np.add.at(confusion, (labels[tested], answers), 1)
    rows = tuple(tuple(row) for row in confusion.tolist())
    layout = _layout(features, patches.labels) if describe else {}
    return LevelResult(level, features.shape[1], tuple(accuracies), rows, layout)


def _layout(features: Tensor, labels: list[int]) -> dict[str, float]:
    return {
        "silhouette": silhouette(features, labels),
        "alignment": alignment(features, labels),
        "uniformity": uniformity(features),
    }


def _nearest_neighbours(k: int) -> Any:
    return sklearn_part("neighbors").KNeighborsClassifier(k)


def _linear_classifier() -> Any:
    """Logistic regression. Its components first turn the features into the span of the fitted ones. The result stays
    the same, because the penalty depends only on the weights' length, and long pixel vectors become affordable."""
    make_pipeline = sklearn_part("pipeline").make_pipeline
    scale = sklearn_part("preprocessing").StandardScaler()
    turn = sklearn_part("decomposition").PCA(svd_solver="full")
    return make_pipeline(scale, turn, sklearn_part("linear_model").LogisticRegression(max_iter=2000))
