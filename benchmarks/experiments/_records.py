"""What finished runs measured, kept in one small file: their folders are large, and lie on the machine that trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uir.core.files import write_text
from uir.core.progress import console

Record = dict[str, dict[int, dict[str, Any]]]
"""By cell and seed: plain data, as JSON stores it."""


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
