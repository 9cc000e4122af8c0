"""What a run measured, and when: read from its folder."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uir.ablation.runs import Run

Results = Mapping[str, Mapping[str, float]]
"""Metrics by their names, by dataset."""
_TIMED_LINE = re.compile(r"iter:\s*([\d,]+), lr:.*?time \(data\): ([\d.]+)")


@dataclass(frozen=True)
class History:
    """The measurements of a run.

    Attributes:
        validations: by iteration, in their order; those of one iteration together.
        final: what counts as the run's result: of its test, else of its last validation.
        clock: seconds of training after so many iterations, in their order; empty where no iteration was timed.
    """

    validations: Mapping[int, Results]
    final: Results
    clock: Mapping[int, float]

    def seconds(self, iteration: int) -> float | None:
        """Seconds of training until an iteration, in proportion between those that were timed."""
        if not self.clock:
            return None
        times = [(0, 0.0), *self.clock.items()]
        after = min(max(bisect_left(times, (iteration, 0.0)), 1), len(times) - 1)
        (left, earlier), (right, later) = times[after - 1 : after + 1]
        return earlier + (later - earlier) * (iteration - left) / (right - left)

    def within(self, seconds: float) -> tuple[int, Results] | None:
        """The last validation that this much training reaches; None where there is none."""
        reached = [iteration for iteration in self.validations if self._fits(iteration, seconds)]
        return (max(reached), self.validations[max(reached)]) if reached else None

    def _fits(self, iteration: int, seconds: float) -> bool:
        needed = self.seconds(iteration)
        return needed is not None and needed <= seconds * (1 + 1e-9)


def read_history(run: Run) -> History:
    """Read what a finished run has left in its folder.

    Raises:
        ValueError: it measured nothing.
    """
    validations: dict[int, dict[str, dict[str, float]]] = {}
    numbers = run.output("train") / "metrics.jsonl"
    for line in numbers.read_text(encoding="utf-8").splitlines() if numbers.is_file() else []:
        row = json.loads(line)
        if "dataset" in row:
            validations.setdefault(row["iter"], {})[row["dataset"]] = row["metrics"]
    final: Results
    if "test" in run.options:
        found = json.loads((run.output("test") / "metrics.json").read_text(encoding="utf-8"))
        final = {item["dataset"]: item["results"] for item in found["datasets"]}
    else:
        final = validations[max(validations)] if validations else {}
    if not final:
        raise ValueError(f"{run.folder}: the run has measured nothing")
    return History(dict(sorted(validations.items())), final, read_clock(run.output("train")))


def read_clock(folder: Path) -> dict[int, float]:
    """Seconds of training after each iteration that the run's logs have a line about.

    A line has the mean time of the iterations since the line before: with waiting for data, without validation and
    writing of checkpoints. Where a run was resumed, the later log counts.
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
