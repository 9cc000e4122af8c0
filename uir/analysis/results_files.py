"""Reading what `uir test` wrote, for charts over several runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Results = dict[str, dict[str, float]]
"""Metrics by dataset."""


def read_results(path: Path) -> Results:
    """The metrics of a run, by dataset: of `metrics.json`, or of what `uir test --json` printed.

    Raises:
        ValueError: there is no such file, or it holds something else.
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
    """One metric of several runs on the datasets that all of them have.

    Args:
        runs: their results, by name.
        metric: its name; default the first that all have everywhere.
        axes: how many datasets there must be.

    Returns:
        The metric's name, the datasets in the order of the first run, and each run's values.

    Raises:
        ValueError: there are too few such datasets, or the metric is missing.
    """
    first = next(iter(runs.values()))
    datasets = [name for name in first if all(name in results for results in runs.values())]
    if len(datasets) < axes:
        raise ValueError(
            f"radar: expected at least {axes} datasets that all runs share, found {', '.join(datasets) or 'none'}"
        )
    held = [
        name
        for name in first[datasets[0]]
        if all(name in run[dataset] for run in runs.values() for dataset in datasets)
    ]
    chosen = metric or (held[0] if held else None)
    if chosen is None or chosen not in held:
        raise ValueError(
            f"radar: not every run has the metric {metric or ''} on every dataset; all have {', '.join(held) or 'none'}"
        )
    return chosen, datasets, {name: [run[dataset][chosen] for dataset in datasets] for name, run in runs.items()}


def names_of(paths: Sequence[Path]) -> list[str]:
    """A name for each file: its own, or its folder's where it is called metrics.json; made different by a number."""
    names: list[str] = []
    for path in paths:
        name = path.resolve().parent.name if path.stem == "metrics" else path.stem
        count = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({count + 1})" if count else name)
    return names
