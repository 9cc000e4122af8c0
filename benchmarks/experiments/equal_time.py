"""How many iterations does each cell of an ablation make in the same time?

    OMP_NUM_THREADS=1 python benchmarks/experiments/equal_time.py options/ablation/all_in_one_proxy.yml --seconds 240

Every stage of every cell is built, and all of them make an iteration in turn, so that a busy machine slows all of them
alike. An iteration counts with the processor time of this process, loading the batch included; the median is taken.
The stages of a cell keep their shares of its iterations. Nothing is written.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from uir.ablation.grid import read_ablation
from uir.ablation.runs import Run, plan_runs
from uir.config.options import Stage, load_options
from uir.config.yaml_file import dump_yaml
from uir.core.progress import console
from uir.data.building import training_stream
from uir.data.stream import BatchStream
from uir.models.building import build_model


@dataclass
class Timed:
    """A stage of a cell that is being measured.

    Attributes:
        cell, stage: their names.
        iterations: those of the stage in the file.
        model, stream: what makes its iterations.
        seconds: processor seconds of each measured iteration.
    """

    cell: str
    stage: str
    iterations: int
    model: Any
    stream: BatchStream
    seconds: list[float] = field(default_factory=list)

    def step(self, number: int) -> float:
        """Make an iteration; its processor seconds."""
        began = time.process_time()
        self.model.update_learning_rate(number, warmup_iter=-1)
        self.model.feed_data(self.stream.next())
        self.model.optimize_parameters(number)
        return time.process_time() - began

    @property
    def median(self) -> float:
        """Processor seconds of an iteration."""
        return statistics.median(self.seconds)


def stages_of(run: Run, folder: Path, root: Path) -> list[Timed]:
    """The stages of a run, each with networks of random weights."""
    file = folder / f"{run.cell}.yml"
    file.write_text(dump_yaml(dict(run.options["train"])), encoding="utf-8")
    loaded = load_options(file, root=root)
    timed = []
    for stage in loaded.stages or (Stage("", loaded),):
        stream = training_stream(stage.file)
        model = build_model(stage.file, torch.device("cpu"), dataset=stream.sampler.dataset)
        train = stage.file.options.train
        timed.append(Timed(run.cell, stage.name, train.total_iter if train else 0, model, stream))
    return timed


def measure(stages: list[Timed], rounds: int) -> None:
    """Make iterations in turn; the first round only warms up."""
    for number in range(1, rounds + 2):
        for stage in stages:
            seconds = stage.step(number)
            if number > 1:
                stage.seconds.append(seconds)


def table_of(stages: list[Timed], seconds: float) -> Table:
    """For each stage, the iterations with which its cell takes `seconds`."""
    table = Table("cell", "stage", "s an iteration", "in the file", f"for {seconds:g} s", title=f"{len(stages)} stages")
    for stage in stages:
        own = [other for other in stages if other.cell == stage.cell]
        share = stage.iterations / sum(other.iterations for other in own)
        mean = sum(other.iterations * other.median for other in own) / sum(other.iterations for other in own)
        count = max(1, round(share * seconds / mean))
        table.add_row(stage.cell, stage.stage, f"{stage.median:.3f}", str(stage.iterations), str(count))
    return table


def main() -> None:
    """Read the arguments, measure, print."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=240.0, help="processor seconds of each cell")
    parser.add_argument("--rounds", type=int, default=5, help="measured iterations of each stage")
    parser.add_argument("--force_yml", nargs="*", default=[])
    arguments = parser.parse_args()
    root = Path(__file__).resolve().parents[2]
    plan = plan_runs(read_ablation(arguments.file), root, arguments.force_yml)
    first = {run.cell: run for run in reversed(plan.runs)}
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        stages = [stage for cell in plan.ablation.cells for stage in stages_of(first[cell.name], Path(folder), root)]
        measure(stages, arguments.rounds)
    console.print(table_of(stages, arguments.seconds))


if __name__ == "__main__":
    main()
