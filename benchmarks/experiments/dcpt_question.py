"""Applies the rules of docs/dcpt_question.md to the runs of options/ablation/dcpt_question.yml.

    python benchmarks/experiments/dcpt_question.py [--folder FOLDER] [--record FILE] [--picture FILE]

It prints tables and the verdict, and draws the curves. It reads the metrics of all runs that are
there; an unfinished run is left out of the last iteration's table. With --record, finished runs are
added to this file, and all runs of the file are judged: benchmarks/experiments/dcpt_question.json has
those that are measured. For the second budget, four times
as long, of the most promising setting (options/ablation/dcpt_question_longer.yml):

    python benchmarks/experiments/dcpt_question.py --folder experiments/ablation/dcpt_question_longer
        --pretraining 12000 --tuning 8000 --setting F_no_global_residual
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from _records import add_to_record, rows_of, runs_of, seconds_of
from rich.table import Table

from uir.ablation.statistics import Interval, interval, paired
from uir.core.progress import console

GROUP = ("haze", "low_light", "blur")
APART = ("rain", "noise")
SCRATCH, DCPT, RECONSTRUCTION, SAME_COMPUTE = "A_scratch", "B_dcpt", "C_reconstruction", "E_equal_compute"
CLAIMS = (SCRATCH, RECONSTRUCTION, "D_permuted_labels")
VARIANTS = ("F_no_global_residual", "G_clipped")  # one of them, or DCPT itself, has the second budget
DESCRIBED = (*VARIANTS, "H_clipped_at_1")
CELLS = (DCPT, *CLAIMS, SAME_COMPUTE, *DESCRIBED)
GATE, SMALL_DB = 0.9, 0.2
PARTS = {"haze, low light, blur": GROUP, "rain": ("rain",), "noise": ("noise",), "all five": (*GROUP, *APART)}
SPLIT = {"haze": ("haze",), "low light": ("low_light",), "blur": ("blur",)}

Validation = Mapping[str, Mapping[str, float]]
"""Metrics by name, for each data set."""


@dataclass(frozen=True)
class Trained:
    """What a run has measured.

    Attributes:
        pretrained: the validation at the end of pre-training; empty for a run without it.
        fine_tuned: validations by the iterations of fine-tuning.
        seconds: of training; None if they are not known.
    """

    pretrained: Validation
    fine_tuned: Mapping[int, Validation]
    seconds: float | None = None


Cells = dict[str, dict[int, Trained]]
"""Runs by cell and seed."""


def read(folder: Path, pretraining: int) -> Cells:
    """The runs of a folder."""
    cells: Cells = {}
    for cell, seed, run in runs_of(folder):
        validations: dict[int, dict[str, Mapping[str, float]]] = {}
        for row in rows_of(run):
            if "dataset" in row:
                validations.setdefault(row["iter"], {})[row["dataset"]] = row["metrics"]
        validations = {iteration: sets for iteration, sets in validations.items() if {*GROUP, *APART} <= set(sets)}
        start = 0 if cell in (SCRATCH, SAME_COMPUTE) else pretraining
        tuned = {iteration - start: values for iteration, values in validations.items() if iteration > start}
        cells.setdefault(cell, {})[seed] = Trained(validations.get(start, {}), tuned, seconds_of(run))
    return cells


def recorded(file: Path, cells: Cells, last: Mapping[str, int]) -> Cells:
    """The finished runs of a record file, after those of `cells` are added to it; unfinished ones stay in memory."""
    finished = {
        cell: {seed: asdict(run) for seed, run in runs.items() if last[cell] in run.fine_tuned}
        for cell, runs in cells.items()
    }
    merged: Cells = {cell: dict(runs) for cell, runs in cells.items()}
    for cell, runs in add_to_record(file, finished).items():
        for seed, run in runs.items():
            tuned = {int(iteration): values for iteration, values in run["fine_tuned"].items()}
            merged.setdefault(cell, {})[seed] = Trained(run["pretrained"], tuned, run.get("seconds"))
    return {cell: dict(sorted(runs.items())) for cell, runs in sorted(merged.items())}


def mean_of(validation: Validation, sets: tuple[str, ...], metric: str = "psnr") -> float:
    """The mean of a metric over some sets."""
    return statistics.fmean(validation[name][metric] for name in sets)


def by_seed(runs: Mapping[int, Trained], iteration: int, sets: tuple[str, ...]) -> dict[int, float]:
    """PSNR by seed, for the runs that have reached an iteration of fine-tuning."""
    return {seed: mean_of(run.fine_tuned[iteration], sets) for seed, run in runs.items() if iteration in run.fine_tuned}


def difference(value: Interval | None) -> str:
    """With its sign; bold only if the interval does not contain 0."""
    if value is None:
        return ""
    said = value.text(2, signed=True)
    return f"**{said}**" if value.is_apart_from_zero else said


def gate(runs: Mapping[int, Trained]) -> float | None:
    """The mean top-1 of the held-out images after pre-training."""
    values = [mean_of(run.pretrained, (*GROUP, *APART), "top1") for run in runs.values() if run.pretrained]
    return statistics.fmean(values) if values else None


def most_promising(cells: Mapping[str, Mapping[int, Trained]], last: Mapping[str, int]) -> str:
    """The setting with the highest mean over the seeds, which the second budget is for."""
    ends = {cell: by_seed(cells[cell], last[cell], GROUP) for cell in (DCPT, *VARIANTS) if cell in cells}
    means = {cell: statistics.fmean(values.values()) for cell, values in ends.items() if values}
    return max(means, key=means.__getitem__, default="none is finished")


def verdict(
    cells: Mapping[str, Mapping[int, Trained]], last: Mapping[str, int], seeds: int, setting: str = DCPT
) -> str:
    """What the rules say of one budget.

    Args:
        cells: the runs by cell and seed.
        last: the last iteration of each cell's fine-tuning.
        seeds: how many were announced; nothing is said before they are finished.
        setting: the cell that is compared with the others.
    """
    measured = gate(cells.get(setting, {}))
    if measured is None:
        return "no pre-training is finished"
    ends = {cell: by_seed(runs, last[cell], GROUP) for cell, runs in cells.items()}
    complete = {cell: paired(ends[setting], ends[cell]) for cell in CLAIMS if cell in ends}
    differences = {cell: value for cell, value in complete.items() if value is not None and value.count >= seeds}
    added = differences.get(SCRATCH)
    if added is None:
        return f"top-1 {measured:.3f} so far; fewer than {seeds} seeds of {setting} and {SCRATCH} are finished"
    if measured < GATE:
        return f"the gate is not passed: top-1 {measured:.3f} is below {GATE}; nothing follows"
    passed = f"gate passed (top-1 {measured:.3f})"
    if len(differences) == len(CLAIMS) and all(value.low > 0 for value in differences.values()):
        return f"{passed}; supported at this scale"
    if added.high < SMALL_DB:
        return f"{passed}; {setting} - {SCRATCH} is below {SMALL_DB} dB: refuted if the other budget agrees"
    if len(differences) < len(CLAIMS) and all(value.low > 0 for value in differences.values()):
        missing = [cell for cell in CLAIMS if cell not in differences]
        return f"{passed}; open until {seeds} seeds of {' and '.join(missing)} are finished"
    return f"{passed}; open"


def end_of(cell: str, pretraining: int, tuning: int) -> int:
    """The last iteration of a cell's fine-tuning."""
    return tuning + round(2.8 * pretraining) if cell == SAME_COMPUTE else tuning


def tables(cells: Mapping[str, Mapping[int, Trained]], last: Mapping[str, int], setting: str = DCPT) -> list[Table]:
    """All cells, the differences, the curves and the gate."""
    final = Table("cell", "seeds", *PARTS, "top-1", "training, s", title="PSNR after the last iteration, dB")
    for cell, runs in cells.items():
        ends = [by_seed(runs, last[cell], sets) for sets in PARTS.values()]
        said = [interval(list(values.values())).text(2) if values else "" for values in ends]
        hits, times = gate(runs), [run.seconds for run in runs.values() if run.seconds]
        timed = f"{statistics.fmean(times):.0f} ({len(times)} runs)" if times else ""
        final.add_row(cell, str(len(ends[0])), *said, "" if hits is None else f"{hits:.3f}", timed)
    differences = Table("difference", "seeds", *PARTS, *SPLIT, title="seed by seed, dB")
    pairs = [(setting, other) for other in (*CLAIMS, SAME_COMPUTE)] + [(other, DCPT) for other in DESCRIBED]
    for one, other in [*pairs, (RECONSTRUCTION, SCRATCH)]:
        if one in cells and other in cells:
            values = [
                paired(by_seed(cells[one], last[one], sets), by_seed(cells[other], last[other], sets))
                for sets in (PARTS | SPLIT).values()
            ]
            count = values[0].count if values[0] else 0
            differences.add_row(f"{one} - {other}", str(count), *(difference(value) for value in values))
    marks = [last[setting] // part for part in (8, 4, 2, 1)]
    curves = Table("cell", *map(str, marks), title=f"PSNR over {', '.join(GROUP)} by iterations of fine-tuning")
    for cell, runs in cells.items():
        points = [by_seed(runs, mark, GROUP) for mark in marks]
        curves.add_row(cell, *(interval(list(values.values())).text(2) if values else "" for values in points))
    return [final, differences, curves, gates(cells)]


def gates(cells: Mapping[str, Mapping[int, Trained]]) -> Table:
    """Top-1 of the held-out images after pre-training: each seed over all classes, each class over the seeds."""
    classes = (*GROUP, *APART)
    table = Table("cell", "by seed", *classes, title="top-1 after pre-training")
    for cell, runs in cells.items():
        pretrained = [run.pretrained for run in runs.values() if run.pretrained]
        if pretrained:
            seeds = ", ".join(f"{mean_of(validation, classes, 'top1'):.3f}" for validation in pretrained)
            hits = [statistics.fmean(validation[name]["top1"] for validation in pretrained) for name in classes]
            table.add_row(cell, seeds, *(f"{value:.3f}" for value in hits))
    return table


def draw(cells: Mapping[str, Mapping[int, Trained]], tuning: int, file: Path) -> None:
    """The curves of fine-tuning up to T, and whole where a cell goes on: mean and range of the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    count = 2 if SAME_COMPUTE in cells else 1
    figure, (panels,) = pyplot.subplots(1, count, figsize=(5.5 * count, 4.5), squeeze=False)
    for index, (cell, runs) in enumerate(cells.items()):
        color = f"C{index}"
        iterations = sorted({mark for run in runs.values() for mark in run.fine_tuned})
        values = [list(by_seed(runs, mark, GROUP).values()) for mark in iterations]
        means = [statistics.fmean(seeds) for seeds in values]
        ends = list(map(min, values)), list(map(max, values))
        for axes in panels[1:] if cell == SAME_COMPUTE else panels:
            axes.plot(iterations, means, marker="o", markersize=3, label=cell, color=color)
            axes.fill_between(iterations, *ends, color=color, alpha=0.1)
    panels[0].set(xlim=(0, 1.02 * tuning), ylabel="PSNR over haze, low light and blur, dB")
    for axes in panels:
        axes.set(xlabel="iterations of fine-tuning")
    panels[-1].legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(file, dpi=90)


def main() -> None:
    """Read, judge, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("experiments/ablation/dcpt_question"))
    parser.add_argument("--pretraining", type=int, default=3000, help="P")
    parser.add_argument("--tuning", type=int, default=2000, help="T")
    parser.add_argument("--setting", default=DCPT, help="the cell that is compared with the others")
    parser.add_argument("--seeds", type=int, default=5, help="how many are needed for a verdict")
    parser.add_argument("--record", type=Path, help="file of finished runs, to add to and to judge")
    parser.add_argument("--picture", type=Path, help="draw the curves into this file")
    arguments = parser.parse_args()
    cells = read(arguments.folder, arguments.pretraining)
    last = {cell: end_of(cell, arguments.pretraining, arguments.tuning) for cell in CELLS}
    if arguments.record:
        cells = recorded(arguments.record, cells, last)
    if not cells:
        raise SystemExit(
            f"{arguments.folder}: there are no runs; uir ablate options/ablation/dcpt_question.yml makes them"
        )
    if arguments.setting not in cells:
        raise SystemExit(f"{arguments.folder}: there is no run of {arguments.setting}")
    console.width = max(console.width, 160)
    for table in tables(cells, last, arguments.setting):
        console.print(table)
    console.print(f"most promising: {most_promising(cells, last)}")
    console.print(verdict(cells, last, arguments.seeds, arguments.setting))
    if arguments.picture:
        draw(cells, arguments.tuning, arguments.picture)


if __name__ == "__main__":
    main()
