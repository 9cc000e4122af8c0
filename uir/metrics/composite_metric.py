"""Composite scores: several metrics on one scale, weighted and added, as challenges rank by.

The terms are data. Each is `{metric, weight, range, invert, region, at_least}`: a metric of the registry, its value
mapped from `range` to 0 to 1, inverted (1 minus it) if less is better, and multiplied by `weight`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor

from uir.metrics.building import Metric, Regions, SetMetric, build_metric
from uir.metrics.regions import in_region, region_of
from uir.metrics.scores import SCORES, Terms
from uir.registry import METRIC_REGISTRY, UnknownNameError, nearest_names

KEYS = ("metric", "weight", "range", "invert", "region", "at_least")


@dataclass(frozen=True)
class Term:
    """One term of a score, `weight · t`.

    Attributes:
        name: the metric in small letters, and its region.
        metric: what is measured.
        weight: the factor.
        low, high: the values of the metric that become 0 and 1.
        invert: take 1 - t, because less is better.
        region: the part of the image that is measured; empty for all of it.
        at_least: the smallest t; None for no bound.
        spec: the metric as the term names it.
    """

    name: str
    metric: Metric
    weight: float
    low: float = 0.0
    high: float = 1.0
    invert: bool = False
    region: str = ""
    at_least: float | None = None
    spec: Mapping[str, Any] | None = None

    def value(self, measured: float) -> float:
        """What a measured value adds to the score."""
        t = (measured - self.low) / (self.high - self.low)
        t = 1 - t if self.invert else t
        return self.weight * (t if self.at_least is None else max(t, self.at_least))

    def measure(self, restored: Tensor, gt: Tensor | None, regions: Regions | None) -> float:
        """The metric of a batch, in the term's region.

        Raises:
            ValueError: the images have no such region, or the metric cannot measure them.
        """
        try:
            if self.region:
                return in_region(self.metric, self.spec or {}, restored, gt, region_of(self.region, regions))
            return self.metric(restored, gt)
        except (ValueError, ImportError, OSError) as error:
            raise ValueError(f"term '{self.name}': {error}") from error


@METRIC_REGISTRY.register()
class CompositeScore:
    """Several metrics as one score, image by image; the score of a set is the mean over its images.

    Args:
        preset: the name of a published score (`raim2024`, ...), instead of `terms`.
        terms: a list of `{metric: {type: LPIPS}, weight: 20, range: [0, 0.4], invert: true, region: person}`. `metric`
            and `weight` are needed; `range` is [0, 1] by default. `at_least` bounds the mapped value from below.

    Raises:
        ValueError: a term has a mistake, or its metric cannot be built, because a file or a package is missing.
    """

    better = "higher"

    def __init__(self, preset: str | None = None, terms: list[dict[str, Any]] | None = None) -> None:
        self._settle(preset or "", terms_of(_data(preset, terms)))

    @classmethod
    def of_terms(cls, name: str, terms: tuple[Term, ...]) -> CompositeScore:
        """The score of terms that are already built."""
        score = cls.__new__(cls)
        score._settle(name, terms)
        return score

    def _settle(self, name: str, terms: tuple[Term, ...]) -> None:
        self.name, self.terms = name, terms
        self.needs_reference = any(term.metric.needs_reference for term in self.terms)
        self.regions = tuple(dict.fromkeys(term.region for term in self.terms if term.region))

    def describe(self) -> str:
        """The weights and metrics, for the heading of a table."""
        parts = " + ".join(f"{term.weight:.4g} {term.name}" for term in self.terms)
        return f"{type(self).__name__} {self.name}".strip() + f" ({parts})"

    def measures(self, restored: Tensor, gt: Tensor | None, regions: Regions | None = None) -> list[float]:
        """The metric of each term, for one batch."""
        return [term.measure(restored, gt, regions) for term in self.terms]

    def score(self, measured: Sequence[float]) -> float:
        """The score of one value for each term."""
        return math.fsum(term.value(value) for term, value in zip(self.terms, measured, strict=True))

    def __call__(self, restored: Tensor, gt: Tensor | None = None, regions: Regions | None = None) -> float:
        """The mean score of the images of a batch [B, 3, H, W]; `at_least` is applied to each image."""
        if (
            restored.ndim == 3 or len(restored) == 1
        ):  # as it is: a metric may remember what it has measured of this very image
            return self.score(self.measures(restored, gt, regions))
        scores = []
        for number in range(len(restored)):
            one = slice(number, number + 1)
            masks = {name: mask[one] for name, mask in regions.items()} if regions else regions
            scores.append(self.score(self.measures(restored[one], None if gt is None else gt[one], masks)))
        return math.fsum(scores) / len(scores)


@METRIC_REGISTRY.register()
class CompositeScoreOfMeans(CompositeScore):
    """As `CompositeScore`, but each term is first averaged over the images. Arguments as there."""

    is_resampled: ClassVar[bool] = True
    __call__ = None  # type: ignore[assignment]  # a metric of the set

    def update(self, restored: Tensor, gt: Tensor | None = None, regions: Regions | None = None) -> list[float]:
        """The metric of each term, for one image."""
        return self.measures(restored, gt, regions)

    def compute(self, contributions: Sequence[Sequence[float]]) -> float:
        """The score of the means."""
        columns = zip(*contributions, strict=True)
        return self.score([math.fsum(column) / len(contributions) for column in columns])


def terms_of(data: Terms, metrics: Mapping[str, Metric] | None = None) -> tuple[Term, ...]:
    """The terms of a score, checked, with their metrics.

    Args:
        data: the terms as an option file has them.
        metrics: metrics that are already built, by the name of their term; the others are built here.

    Raises:
        ValueError: a term has a mistake, or its metric cannot be built.
    """
    terms = [_term(f"terms[{index}]", entry) for index, entry in enumerate(data)]
    names = [term.name for term in terms]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ValueError(f"terms: '{twice}' stands there twice; give it one weight")
    known = metrics or {}
    return tuple(replace(term, metric=known.get(term.name) or _built(term)) for term in terms)


def _data(preset: str | None, terms: Terms | None) -> Terms:
    if (preset is None) == (terms is None):
        raise ValueError("expected either `preset`, the name of a published score, or `terms`, a list")
    if preset is not None:
        if preset not in SCORES:
            near = nearest_names(preset, SCORES, count=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"preset: no score is called {preset!r}{hint} (known: {', '.join(SCORES)})")
        return SCORES[preset]
    if not isinstance(terms, list) or not terms:
        raise ValueError(f"terms: expected a list of {{metric: ..., weight: ...}}, got {terms!r}")
    return terms


def _term(where: str, entry: Any) -> Term:
    """A term without its metric."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where}: expected {{metric: ..., weight: ...}}, got {entry!r}")
    for key in entry:
        if key not in KEYS:
            near = nearest_names(str(key), KEYS, count=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(KEYS)}"
            raise ValueError(f"{where}: a term has no key '{key}'; {hint}")
    for key in ("metric", "weight"):
        if key not in entry:
            raise ValueError(f"{where}: `{key}` is missing")
    metric = entry["metric"]
    spec = {"type": metric} if isinstance(metric, str) else metric
    if not isinstance(spec, Mapping) or not isinstance(spec.get("type"), str):
        raise ValueError(f"{where}.metric: expected a name or {{type: NAME, ...}}, got {metric!r}")
    limits = entry.get("range", [0, 1])
    if not isinstance(limits, (list, tuple)) or len(limits) != 2:
        raise ValueError(f"{where}.range: expected [low, high], got {limits!r}")
    low, high = (_number(f"{where}.range", limit) for limit in limits)
    if low >= high:
        raise ValueError(f"{where}.range: [{low:g}, {high:g}] is empty; write the lower end first, and `invert: true`")
    invert, region = entry.get("invert", False), entry.get("region", "")
    if not isinstance(invert, bool):
        raise ValueError(f"{where}.invert: expected true or false, got {invert!r}")
    if not isinstance(region, str):
        raise ValueError(f"{where}.region: expected the name of a region, got {region!r}")
    floor = entry.get("at_least")
    name = spec["type"].rpartition(":")[2].lower() + (f" of {region}" if region else "")  # without pyiqa:
    at_least = None if floor is None else _number(f"{where}.at_least", floor)
    weight = _number(f"{where}.weight", entry["weight"])
    return Term(name, _NOTHING, weight, low, high, invert, region, at_least, dict(spec))


_NOTHING = Metric("", "higher", False, lambda restored, gt, regions: math.nan, lambda channel: "")


def _built(term: Term) -> Metric:
    try:
        metric = build_metric(term.spec or {}, f"term '{term.name}'")
    except UnknownNameError:
        name = (term.spec or {}).get("type", "")
        near = nearest_names(name, METRIC_REGISTRY.keys(), count=1)
        hint = (
            f"did you mean {near[0]}?" if near else "a plugin can register one (`uir list metrics` shows what is there)"
        )
        raise ValueError(f"term '{term.name}' needs the metric {name}, which is not registered; {hint}") from None
    except (ImportError, OSError) as error:
        raise ValueError(f"term '{term.name}' cannot be measured: {error}") from error
    if isinstance(metric, SetMetric):
        raise ValueError(f"term '{term.name}': {metric.name} measures a whole set; a term needs a value of each image")
    return metric


def _number(where: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
        raise ValueError(f"{where}: expected a number, got {given!r}")
    return float(given)
