"""Applies the rules of docs/dcpt_question.md on features to the runs of options/ablation/knn_question.yml.

Each backbone learned to restore haze, rain and noise. The features of photographs that it was not trained on, with all
five degradations in the ranges of the controls, are classified by five nearest neighbours: untrained (the backbone's
own initialisation, and DCPT's kaiming_uniform, with the run's seed) and trained. Every class uses the same photographs,
and the splits are by photograph. The rules ask the last level, the features just before the output layers.

    python benchmarks/experiments/knn_question.py [--folder FOLDER] [--photographs DIR] [--record FILE]

With --record, finished runs are added to this file, and all runs of the file are judged:
benchmarks/experiments/knn_question.json has those that are measured.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from _records import Record, add_to_record, rows_of, runs_of, seconds_of
from rich.table import Table
from torch import nn

from uir.ablation.statistics import Interval, interval, paired
from uir.analysis.features_of import PIXELS, features_of, pixel_features
from uir.analysis.networks import Initialisation, load_network
from uir.analysis.patches import DegradedPatches, degraded_patches
from uir.analysis.probes import probe_features
from uir.config.yaml_file import read_yaml
from uir.core.images import list_images
from uir.core.progress import console

CONTROLS = Path(__file__).resolve().parents[2] / "options" / "base" / "dcpt_controls.yml"
INITS: tuple[Initialisation, ...] = ("random", "kaiming", "trained")
PIXEL_CELL = "pixels"
SMALL = 5.0  # points; smaller gains refute, as docs/dcpt_question.md announced
SEEDS = 3


def patches_of(photographs: Path) -> DegradedPatches:
    """The middle of each photograph with each of the controls' five degradations."""
    tasks = read_yaml(CONTROLS)[0]["datasets"]["train"]["tasks"]
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "degradations.yml"
        recipe.write_text(yaml.safe_dump({label: task["degradation"] for label, task in tasks.items()}))
        return degraded_patches(photographs, recipe, max_images=len(list_images(photographs)))


def accuracies(network: nn.Module, patches: DegradedPatches) -> dict[str, float]:
    """Percent that five nearest neighbours name right, in the mean over the splits, by feature level."""
    features = features_of(network, patches.images, pool="mean", progress=True)
    return {level.level: 100 * level.mean for level in probe_features(features, patches, "knn", k=5)}


def measured(folder: Path, photographs: Path) -> Record:
    """The finished runs of a folder: accuracies by initialisation and level, seconds of training."""
    record: Record = {}
    patches: DegradedPatches | None = None
    for cell, seed, run in runs_of(folder):
        if not any("dataset" in row for row in rows_of(run)):
            continue  # it is validated at its end
        if patches is None:
            patches = patches_of(photographs)
            pixels = probe_features({PIXELS: pixel_features(patches.images)}, patches, "knn", k=5)[0]
            record[PIXEL_CELL] = {0: {"pixels": 100 * pixels.mean}}
        options = folder / cell / f"seed{seed}" / "train.yml"
        models = (None, None, run / "models" / "net_g_latest.pth")
        values = {
            init: accuracies(load_network(options, model, init=init, seed=seed), patches)
            for init, model in zip(INITS, models, strict=True)
        }
        record.setdefault(cell, {})[seed] = {**values, "seconds": seconds_of(run)}
        console.print(f"{cell}, seed {seed}: {values}")
    return record


def verdict(gains: Sequence[Interval | None], seeds: int) -> str:
    """What the announced rules say of a backbone.

    Args:
        gains: trained minus random and trained minus kaiming, in points, seed by seed.
        seeds: how many were asked for; nothing is said before they are finished.
    """
    known = [gain for gain in gains if gain is not None and gain.half_width is not None and gain.count >= seeds]
    if len(known) < len(gains):
        return ""
    if all(gain.low > 0 for gain in known):
        return "supported"
    return "refuted" if all(gain.high < SMALL for gain in known) else "open"


def table(record: Record) -> Table:
    """Lines: backbones; their last level over the seeds, what training adds, seed by seed, and the verdict."""
    title = "The last level, % (chance 20); ± half of the 95 % interval over the seeds"
    differences_of = [f"trained - {init}" for init in INITS[:2]]
    shown = Table("backbone", "seeds", *INITS, *differences_of, "", "training, s", title=title)
    for backbone, runs in record.items():
        if backbone == PIXEL_CELL:
            continue
        values = {init: {seed: last(run[init]) for seed, run in runs.items()} for init in INITS}
        means = [interval(list(values[init].values())).text(1) for init in INITS]
        differences = [paired(values["trained"], values[init]) for init in INITS[:2]]
        gains = [value.text(1, signed=True) if value else "" for value in differences]
        times = [run["seconds"] for run in runs.values() if run["seconds"]]
        timed = f"{sum(times) / len(times):.0f}" if times else ""
        shown.add_row(backbone, str(len(runs)), *means, *gains, verdict(differences, SEEDS), timed)
    return shown


def last(levels: Mapping[str, float]) -> float:
    """The accuracy at the last level."""
    return list(levels.values())[-1]


def main() -> None:
    """Probe, record, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("experiments/ablation/knn_question"))
    parser.add_argument("--photographs", type=Path, default=Path("datasets/blind/test"))
    parser.add_argument("--record", type=Path, help="file of finished runs, to add to and to judge")
    arguments = parser.parse_args()
    record = measured(arguments.folder, arguments.photographs)
    if arguments.record:
        record = add_to_record(arguments.record, record)
    if not record:
        raise SystemExit(
            f"{arguments.folder}: no run is finished; uir ablate options/ablation/knn_question.yml makes them"
        )
    console.width = max(console.width, 140)
    console.print(table(record))
    for seed_values in record.get(PIXEL_CELL, {}).values():
        console.print(f"the pixels themselves: {seed_values['pixels']:.1f} %")


if __name__ == "__main__":
    main()
