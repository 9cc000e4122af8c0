"""What the classifier's norm does in pre-training: the runs of options/ablation/classifier_norm.yml.

    python benchmarks/experiments/classifier_norm_trained.py [--folder FOLDER] [--record FILE]

PSNR after fine-tuning, and the classifier's top-1 on held-out images after pre-training, both over the five
degradations; differences from the classifier with the norm, seed by seed. With --record, finished runs are added
to this file, and all runs of the file are shown: benchmarks/experiments/classifier_norm.json has those that are
measured. benchmarks/classifier_norm.py measures the other half, frozen features.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dcpt_question import APART, GROUP, Cells, by_seed, difference, mean_of, read, recorded
from rich.table import Table

from uir.ablation.statistics import interval, paired
from uir.core.progress import console

REFERENCE = "norm"
PRETRAINING = TUNING = 1000
ALL = (*GROUP, *APART)


def table(cells: Cells) -> Table:
    """A row a cell; the reference has no difference."""
    shown = Table("cell", "seeds", "PSNR, dB", f"minus {REFERENCE}", "top-1, %", f"minus {REFERENCE}")
    measured = {
        cell: (
            by_seed(runs, TUNING, ALL),
            {seed: 100 * mean_of(run.pretrained, ALL, "top1") for seed, run in runs.items() if run.pretrained},
        )
        for cell, runs in cells.items()
    }
    for cell, columns in measured.items():
        said = []
        for values, reference in zip(columns, measured.get(REFERENCE, ({}, {})), strict=True):
            said.append(interval(list(values.values())).text(2) if values else "")
            said.append("" if cell == REFERENCE else difference(paired(values, reference)))
        shown.add_row(cell, str(len(columns[0])), *said)
    return shown


def main() -> None:
    """Read, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("experiments/ablation/classifier_norm"))
    parser.add_argument("--record", type=Path, help="file of finished runs, to add to and to show")
    arguments = parser.parse_args()
    cells = read(arguments.folder, PRETRAINING)
    if arguments.record:
        cells = recorded(arguments.record, cells, dict.fromkeys(cells, TUNING))
    if not cells:
        raise SystemExit(
            f"{arguments.folder}: there are no runs; uir ablate options/ablation/classifier_norm.yml makes them"
        )
    console.print(table(cells))


if __name__ == "__main__":
    main()
