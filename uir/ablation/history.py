"""The measurements of a run and their times, read from its folder."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from uir.ablation.runs import Run

Results = Mapping[str, Mapping[str, float]]
"""Metrics by name, for each dataset."""
_TIMED_LINE = re.compile(r"iter:\s*([\d,]+), lr:.*?time \(data\): ([\d.]+)")


@dataclass(frozen=True)
class History:
    """The measurements of a run.

    Attributes:
        validations: results by iteration, in order; all results of one iteration together.
        final: the run's result: that of its test, or else of its last validation.
        clock: seconds of training by iteration, in order; empty if no iteration was timed.
        inputs: the metrics of the degraded images themselves; empty if they were not measured.
    """

    validations: Mapping[int, Results]
    final: Results
    clock: Mapping[int, float]
    inputs: Results = field(default_factory=dict)

    def seconds(self, iteration: int) -> float | None:
        """Seconds of training until an iteration, interpolated linearly between the timed ones."""
        if not self.clock:
            return None
        times = [(0, 0.0), *self.clock.items()]
        after = min(max(bisect_left(times, (iteration, 0.0)), 1), len(times) - 1)
        (left, earlier), (right, later) = times[after - 1 : after + 1]
        return earlier + (later - earlier) * (iteration - left) / (right - left)

    def within(self, seconds: float) -> tuple[int, Results] | None:
        """The last validation within this training time; None if there is none."""
        reached = [iteration for iteration in self.validations if self._fits(iteration, seconds)]
        return (max(reached), self.validations[max(reached)]) if reached else None

    def _fits(self, iteration: int, seconds: float) -> bool:
        needed = self.seconds(iteration)
        return needed is not None and needed <= seconds * (1 + 1e-9)


def read_history(run: Run) -> History:
    """Read the results in the folder of a finished run.

    Raises:
        ValueError: the run has no results.
    """
    validations: dict[int, dict[str, dict[str, float]]] = {}
    inputs: dict[str, dict[str, float]] = {}
    numbers = run.output("train") / "metrics.jsonl"
    for line in numbers.read_text(encoding="utf-8").splitlines() if numbers.is_file() else []:
        row = json.loads(line)
        if "dataset" in row:
            validations.setdefault(row["iter"], {})[row["dataset"]] = row["metrics"]
            inputs[row["dataset"]] = row.get("input", {})
    final: Results
    if "test" in run.options:
        test_results = json.loads((run.output("test") / "metrics.json").read_text(encoding="utf-8"))
        final, inputs = (
            {
                item["dataset"]: {name: float(value) for name, value in item.get(kind, {}).items()}
                for item in test_results["datasets"]
            }
            for kind in ("results", "inputs")
        )
    else:
        final = validations[max(validations)] if validations else {}
    if not final:
        raise ValueError(f"{run.folder}: the run has measured nothing; it needs a validation or a test")
    return History(dict(sorted(validations.items())), final, read_clock(run.output("train")), inputs)


def read_clock(folder: Path) -> dict[int, float]:
    """Seconds of training at each iteration that has a line in the run's logs.

    A line has the mean time of the iterations since the line before. It includes waiting for data, but not validation
    and writing checkpoints. If a run was resumed, the later log counts.
    """
    means: dict[int, float] = {}
    for log in sorted(folder.glob("train_*.log"), key=lambda file: file.stat().st_mtime):
        for iteration, mean in _TIMED_LINE.findall(log.read_text(encoding="utf-8", errors="replace")):
            means[int(iteration.replace(",", ""))] = float(mean)
    clock: dict[int, float] = {}
    last, seconds = 0, 0.0
    for iteration in sorted(means):
        seconds += (iteration - last) * means[iteration]
        clock[iteration] = seconds
        last = iteration
    return clock
