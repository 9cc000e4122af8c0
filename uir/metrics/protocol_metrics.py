"""The metrics that a protocol's table shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from uir.metrics.building import Metric, SetMetric, build_metric, metric_of, remembering
from uir.metrics.composite_metric import CompositeScore, CompositeScoreOfMeans, Term, terms_of
from uir.metrics.protocols import Protocol, protocol_named
from uir.metrics.scores import OF_MEANS, SCORES

SCORE = "score"


@dataclass(frozen=True)
class ProtocolMetrics:
    """A protocol, ready to measure.

    Attributes:
        protocol: its settings, the border included.
        metrics: by the name of the column.
        missing: why a metric cannot be measured, one sentence each, by the name of the column.
    """

    protocol: Protocol
    metrics: Mapping[str, Metric | SetMetric]
    missing: Mapping[str, str]


def metrics_of_protocol(name: str, scale: int = 1, shared: dict[str, Metric] | None = None) -> ProtocolMetrics:
    """The metrics of a published protocol: PSNR and SSIM, or the terms of its composite score and the score.

    Args:
        name: the protocol.
        scale: the border where the protocol leaves out `scale` pixels; nothing is left out at scale 1.
        shared: metrics of other protocols that measure the same images; those of this one are added.

    Raises:
        ValueError: there is no such protocol.
    """
    published = protocol_named(name)
    border = (scale if scale > 1 else 0) if published.crop_border is None else published.crop_border
    protocol = replace(published, crop_border=border)
    shared = {} if shared is None else shared
    if not protocol.score:
        spec = {"protocol": protocol.name, "crop_border": border}
        metrics = {label: _shared(shared, {"type": label.upper(), **spec}) for label in ("psnr", "ssim")}
        return ProtocolMetrics(protocol, metrics, {})
    return _of_score(protocol, shared)


def _of_score(protocol: Protocol, shared: dict[str, Metric]) -> ProtocolMetrics:
    data = SCORES[protocol.score]
    metrics: dict[str, Metric | SetMetric] = {}
    missing: dict[str, str] = {}
    for entry in data:
        try:
            term = _measurable(entry, shared)
            metrics[term.name] = term.metric
        except ValueError as error:
            missing[entry["metric"]["type"].lower()] = f"protocol {protocol.name}: {error}"
    if missing:
        missing[SCORE] = f"protocol {protocol.name}: there is no score without {' and '.join(missing)}"
        return ProtocolMetrics(protocol, metrics, missing)
    cls = CompositeScoreOfMeans if protocol.score in OF_MEANS else CompositeScore
    terms = terms_of(data, {name: metric for name, metric in metrics.items() if isinstance(metric, Metric)})
    metrics[SCORE] = metric_of(cls.__name__, "higher", cls.of_terms(protocol.score, terms))
    return ProtocolMetrics(protocol, metrics, {})


def _measurable(entry: dict[str, Any], shared: dict[str, Metric]) -> Term:
    """A term whose metric has measured a small pair of images, so that a missing file shows before the test."""
    key = str(entry["metric"])
    if key in shared:
        return terms_of([entry], {entry["metric"]["type"].lower(): shared[key]})[0]
    (term,) = terms_of([entry])
    try:
        trial = torch.rand(2, 1, 3, 192, 192, generator=torch.Generator().manual_seed(0))
        term.metric(trial[0], trial[1])
    except (ValueError, ImportError, OSError) as error:
        raise ValueError(f"term '{term.name}' cannot be measured: {error}") from error
    shared[key] = remembering(term.metric)
    return replace(term, metric=shared[key])


def _shared(shared: dict[str, Metric], spec: dict[str, Any]) -> Metric:
    key = str(spec)
    if key not in shared:
        metric = build_metric(spec)
        assert isinstance(metric, Metric)
        shared[key] = remembering(metric)
    return shared[key]
