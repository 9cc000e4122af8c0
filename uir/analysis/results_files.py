"""Reads the results of `uir test`, for charts over several runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Results = dict[str, dict[str, float]]
"""Metrics by dataset."""


def read_results(path: Path) -> Results:
    """The metrics of a run, by dataset: from `metrics.json`, or from the output of `uir test --json`.

    Raises:
        ValueError: there is no such file, or it has other content.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from None
    datasets: Any = content.get("datasets") if isinstance(content, dict) else content
    try:
        return {
            str(item["dataset"]): {str(name): float(value) for name, value in item["results"].items()}
            for item in datasets
        }
    except (TypeError, KeyError, AttributeError, ValueError):
        raise ValueError(
            f"{path}: expected the results of a test: metrics.json, or the output of `uir test --json`"
        ) from None


def shared_values(
    runs: dict[str, Results], metric: str | None = None, axes: int = 3
) -> tuple[str, list[str], dict[str, list[float]]]:
    """One metric of several runs on the datasets that they share.

    Args:
        runs: the results, by name of the run.
        metric: name of the metric; default the first that all runs have on all datasets.
        axes: the smallest number of datasets.

    Returns:
        The metric's name, the datasets in the order of the first run, and each run's values.

    Raises:
        ValueError: there are too few such datasets, or the metric is missing.
    """
    first = next(iter(runs.values()))
    datasets = [name for name in first if all(name in results for results in runs.values())]
    if len(datasets) < axes:
        raise ValueError(
            f"radar: expected at least {axes} datasets that all runs share, got {', '.join(datasets) or 'none'}"
        )
    shared_metrics = [
        name
        for name in first[datasets[0]]
        if all(name in run[dataset] for run in runs.values() for dataset in datasets)
    ]
    chosen = metric or (shared_metrics[0] if shared_metrics else None)
    if chosen is None or chosen not in shared_metrics:
        raise ValueError(
            f"radar: not every run has the metric {metric or ''} on every dataset; "
            f"all have {', '.join(shared_metrics) or 'none'}"
        )
    return chosen, datasets, {name: [run[dataset][chosen] for dataset in datasets] for name, run in runs.items()}


def names_of(paths: Sequence[Path]) -> list[str]:
    """A name for each file: its own, or its folder's for metrics.json; a number makes equal names different."""
    names: list[str] = []
    for path in paths:
        name = path.resolve().parent.name if path.stem == "metrics" else path.stem
        count = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({count + 1})" if count else name)
    return names
