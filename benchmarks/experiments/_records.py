"""Runs of an ablation, and a small file of what they measured: their folders are large, and stay where they trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from uir.ablation.history import read_clock
from uir.core.files import write_text
from uir.core.progress import console

Record = dict[str, dict[int, dict[str, Any]]]
"""By cell and seed: plain data, as JSON stores it."""


def runs_of(folder: Path) -> Iterator[tuple[str, int, Path]]:
    """Cell, seed and folder of each run of an ablation, without those that were archived: they had other options."""
    for file in sorted(folder.glob("*/seed*/train/*/metrics.jsonl")):
        cell, seed, _, run, _ = file.relative_to(folder).parts
        if "_archived_" not in run:
            yield cell, int(seed.removeprefix("seed")), file.parent


def rows_of(run: Path) -> list[dict[str, Any]]:
    """What a run has measured, in its order."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def seconds_of(run: Path) -> float | None:
    """Seconds of training by the wall's clock, without validation; None if the run's log is not there any more."""
    return max(read_clock(run).values(), default=None)


def read_record(file: Path) -> Record:
    """The runs of a record; none if there is no such file."""
    if not file.exists():
        return {}
    cells = json.loads(file.read_text(encoding="utf-8"))
    return {cell: {int(seed): values for seed, values in runs.items()} for cell, runs in cells.items()}


def add_to_record(file: Path, measured: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> Record:
    """Add finished runs to a record, and return all that it then has. A run that was repeated replaces the older one.

    Args:
        file: is made if it is not there.
        measured: by cell and seed; only what JSON can store.
    """
    record = read_record(file)
    for cell, runs in measured.items():
        for seed, new in runs.items():
            values = json.loads(json.dumps(new))
            if record.get(cell, {}).get(seed, values) != values:
                console.print(f"{file}: {cell} seed {seed} is replaced: the run in the folder measured other values")
            record.setdefault(cell, {})[seed] = values
    ordered = {cell: dict(sorted(runs.items())) for cell, runs in sorted(record.items())}
    lines = (f'"{cell}": {{\n' + ",\n".join(
        f'  "{seed}": {json.dumps(values)}' for seed, values in runs.items()) + "\n}"
        for cell, runs in ordered.items())  # fmt: skip
    write_text(file, "{\n" + ",\n".join(lines) + "\n}\n")
    return ordered
