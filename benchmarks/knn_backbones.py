"""Do a restorer's features separate degradations, before and after it learned to restore? Backbone by backbone.

It trains each backbone of options/ablation/dcpt_controls.yml to restore five degradations of some photographs. Then it
classifies the features of the other photographs, with these degradations, by nearest neighbours: untrained (the
backbone's own initialisation, and DCPT's kaiming_uniform) and trained. Every class uses the same photographs, and the
splits are by photograph. Plain pixels are the control. Networks that learned three of the five, as DCPT asks (Hu et
al., ICLR 2025, section 3), are those of options/ablation/knn_question.yml.

Complete runs are not repeated, and a run that the time limit stopped continues: start it again with the same arguments.

    python benchmarks/knn_backbones.py --photographs DIR --seeds 1 --minutes 60
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from _runs import Runs
from rich.table import Table
from torch import nn

from uir.analysis.features_of import PIXELS, Pool, features_of, pixel_features
from uir.analysis.networks import Initialisation, load_network
from uir.analysis.patches import DegradedPatches, degraded_patches
from uir.analysis.probes import LevelResult, probe_features
from uir.config.yaml_file import read_yaml
from uir.core.devices import pick_device
from uir.core.files import write_text
from uir.core.images import list_images
from uir.core.progress import console

OPTIONS = Path(__file__).resolve().parents[1] / "options"
BASE = OPTIONS / "base" / "dcpt_controls.yml"
INITS: tuple[Initialisation, ...] = ("random", "kaiming", "trained")


def part_photographs(folder: Path, photographs: Path, probed: int) -> None:
    """Link the first photographs, which are probed, into `probe`, and all others into the folder for training."""
    for index, file in enumerate(list_images(photographs)):
        place = folder / ("probe" if index < probed else "datasets/clean") / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            os.symlink(file.resolve(), place)


def controls_data() -> dict[str, Any]:
    """The `datasets` of the controls."""
    data: dict[str, Any] = read_yaml(BASE)[0]["datasets"]
    return data


def recipe_of(folder: Path) -> Path:
    """A recipe with all degradations of the controls, in their ranges, for the probe."""
    file = folder / "degradations.yml"
    classes = {label: task["degradation"] for label, task in controls_data()["train"]["tasks"].items()}
    write_text(file, yaml.safe_dump(classes))
    return file


def training_file(runs: Runs, backbone: str, network: dict[str, Any], iterations: int, seed: int) -> Path:
    """All-in-one restoration with the data and the optimizer of the controls."""
    base, data = BASE, controls_data()
    # The probed photographs are already separate, so one for validation is enough.
    tasks = {label: {"held_out": 1} for label in data["train"]["tasks"]}
    content = {
        "name": f"{backbone}_{seed}", "base": str(base), "manual_seed": seed, "network_g": network,
        "datasets": {"train": {"tasks": tasks}, **{name: None for name in data if name != "train"}},
        "train": {"total_iter": iterations, "scheduler": {"periods": [iterations]}}, "val": None,
    }  # fmt: skip
    return runs.file_of(content)


def accuracies(network: nn.Module, pool: Pool, patches: DegradedPatches) -> dict[str, dict[str, float]]:
    """Mean accuracy and its deviation over the splits, in percent, by feature level."""
    features = features_of(network, patches.images, pool=pool, device=pick_device("auto"), progress=True)
    return {level.level: in_percent(level) for level in probe_features(features, patches, "knn", k=5)}


def in_percent(level: LevelResult) -> dict[str, float]:
    """Mean and sample deviation over the splits."""
    return {"mean": 100 * level.mean, "deviation": 100 * (level.deviation or 0.0)}


def table_of(by_run: dict[str, Any], pixels: dict[str, float]) -> Table:
    """Lines: backbone, seed and weights, with the accuracy at each feature level."""
    title = (
        f"Five degradations by nearest neighbours, % (chance 20, pixels {shown(pixels)}); ± deviation over the splits"
    )
    table = Table("backbone", "seed", "weights", "by level, first to last", title=title)
    for backbone, by_seed in by_run.items():
        for seed, inits in by_seed.items():
            for init, levels in inits.items():
                said = "   ".join(f"{name} {shown(level)}" for name, level in levels.items())
                table.add_row(backbone, str(seed), init, said)
    return table


def shown(value: dict[str, float]) -> str:
    """Mean ± deviation."""
    return f"{value['mean']:.1f} ± {value['deviation']:.1f}"


def main() -> None:
    """Train, probe, print the table and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", default="datasets/demo/train", help="clean photographs")
    parser.add_argument("--probed", type=int, default=100, help="number of photographs for the probe, not for training")
    parser.add_argument("--folder", default="experiments/knn_backbones", help="folder for all output")
    parser.add_argument("--minutes", type=float, default=3, help="time for training; the rest is done next time")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument(
        "--pool", choices=("mean", "flatten"), default="mean", help="pooling of features; flatten is large"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at once")
    options = parser.parse_args()
    runs = Runs(Path(options.folder), options.minutes)
    photographs = Path(options.photographs)
    part_photographs(runs.folder, photographs, min(options.probed, len(list_images(photographs)) // 2))
    backbones = read_yaml(OPTIONS / "ablation" / "dcpt_controls.yml")[0]["grid"]["backbone"]
    files = {
        (backbone, seed): training_file(runs, backbone, overrides["network_g"], options.iterations, seed)
        for seed in options.seeds
        for backbone, overrides in backbones.items()
    }
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(runs.train, files.values()))
    patches = degraded_patches(runs.folder / "probe", recipe_of(runs.folder), max_images=options.probed)
    pixels = in_percent(probe_features({PIXELS: pixel_features(patches.images)}, patches, "knn", k=5)[0])
    by_run: dict[str, Any] = {}
    for (backbone, seed), file in files.items():
        weights = runs.weights(file.stem)
        for init in INITS:
            if init != "trained" or weights.exists():
                network = load_network(file, weights if init == "trained" else None, init=init, seed=seed)
                measured = accuracies(network, options.pool, patches)
                by_run.setdefault(backbone, {}).setdefault(seed, {})[init] = measured
                console.print(f"{backbone}, seed {seed}, {init}: {measured}")
    console.width = 160
    console.print(table_of(by_run, pixels))
    content = {"arguments": vars(options), "pixels": pixels, "knn": by_run}
    write_text(runs.folder / "results.json", json.dumps(content, indent=2) + "\n")
    console.print(f"written: {runs.folder / 'results.json'}")


if __name__ == "__main__":
    main()
