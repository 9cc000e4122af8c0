"""Bootstrap intervals over the images of a test set (Efron and Tibshirani, 1993, section 13.3: percentiles)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from uir.core.seeds import numpy_generator
from uir.engine.evaluation import Evaluation
from uir.metrics.building import Metric, SetMetric

RESAMPLES = 2000
CONFIDENCE = 0.95


def add_intervals(found: Evaluation, metrics: Mapping[str, Metric | SetMetric]) -> dict[str, np.ndarray]:
    """Fill `intervals` and `counts` of a test's measurements.

    The images are drawn with replacement, always the same draws for a dataset of this name and size, so that two
    metrics or two protocols are compared on the same resamples. A metric of the whole set has an interval only if it
    is cheap to compute again; so has no value that one image alone gives.

    Returns:
        The values of the resamples, by metric, for the interval of a mean over several datasets.
    """
    drawn: dict[str, np.ndarray] = {}
    for name, result in found.results.items():
        parts, statistic = _parts_of(found, name, metrics.get(name))
        found.counts[name] = len(parts) if parts else found.images - len(found.nonfinite)
        if len(parts) > 1 and math.isfinite(result):
            drawn[name] = resampled(parts, found.dataset, statistic)
            limits = interval(drawn[name])
            if limits is not None:
                found.intervals[name] = limits
    return drawn


def resampled(values: Sequence[Any], key: str, statistic: Callable[[Sequence[Any]], float] | None = None) -> np.ndarray:
    """A statistic of `RESAMPLES` resamples of some values, by default their mean; the draws depend on `key` only."""
    generator = numpy_generator("bootstrap", key, len(values))
    results = np.empty(RESAMPLES)
    array = None if statistic else np.asarray(values, dtype=np.float64)
    for index in range(RESAMPLES):
        chosen = generator.integers(len(values), size=len(values))
        results[index] = array[chosen].mean() if array is not None else statistic([values[i] for i in chosen])  # type: ignore[misc]
    return results


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """The percentiles that leave out the same share at both ends; None if a value is not finite."""
    if not np.isfinite(values).all():
        return None
    outside = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values, [outside, 100 - outside])
    return float(low), float(high)


def _parts_of(
    found: Evaluation, name: str, metric: Metric | SetMetric | None
) -> tuple[list[Any], Callable[[Sequence[Any]], float] | None]:
    """What each image adds to a metric, and how the parts become its value; None for a mean."""
    if isinstance(metric, SetMetric):
        return found.parts.get(name, []), metric.result
    return [row["metrics"][name] for row in found.per_image if name in row["metrics"]], None
