"""Means with Student's intervals, for a few seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A mean and its interval, `mean ± half_width`.

    Attributes:
        mean: mean of the values.
        half_width: None for a single value, which has no spread.
        count: number of values.
    """

    mean: float
    half_width: float | None
    count: int

    @property
    def is_apart_from_zero(self) -> bool:
        """Whether the interval does not contain 0."""
        return self.half_width is not None and abs(self.mean) > self.half_width

    @property
    def low(self) -> float:
        """The lower bound; -inf for a single value, which bounds nothing."""
        return -math.inf if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float:
        """The upper bound; inf for a single value."""
        return math.inf if self.half_width is None else self.mean + self.half_width

    def text(self, digits: int, signed: bool = False) -> str:
        """`mean ± half width`, the mean with its sign if wished; the mean alone for a single value."""
        mean = f"{self.mean:{'+' if signed else ''}.{digits}f}"
        return mean if self.half_width is None else f"{mean} ± {self.half_width:.{digits}f}"


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean of independent values and its two-sided interval by Student's t: t·s/√n with n - 1 degrees of freedom.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("interval: there are no values")
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return Interval(mean, None, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return Interval(mean, t_quantile((1 + confidence) / 2, count - 1) * math.sqrt(variance / count), count)


def paired(values: Mapping[int, float], reference: Mapping[int, float]) -> Interval | None:
    """The interval of the differences `values - reference`, seed by seed; None if they share no seed."""
    differences = [value - reference[seed] for seed, value in values.items() if seed in reference]
    return interval(differences) if differences else None


def t_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's distribution with `freedom` degrees of freedom.

    Args:
        probability: in [0.5, 1).
        freedom: whole number from 1.

    Raises:
        ValueError: an argument is out of range.
    """
    if not 0.5 <= probability < 1 or freedom < 1:
        raise ValueError(f"t_quantile: expected 0.5 <= probability < 1 and freedom >= 1, got {probability}, {freedom}")
    central = 2 * probability - 1
    low, high = 0.0, math.pi / 2  # the angle atan(t/√freedom)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _central_probability(middle, freedom) < central else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _central_probability(angle: float, freedom: int) -> float:
    """P(|T| < √freedom · tan(angle)) (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2 == 1
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(2 if odd else 1, freedom, 2):  # the powers of the cosine increase by 2
        total += term
        term *= cosine * cosine * k / (k + 1)
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
