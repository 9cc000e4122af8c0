"""How well a DASR-Liang's predictor learns the degradation of its image, as uir trains it and as published.

It trains predictors alone, by options/train/dasr_liang_x4_predictor.yml, on samples that are degraded once for all of
them. Then it degrades held-out photographs at each level and compares the numbers with the records, in their units:
the σ of the blurs, the σ of noise where it is Gaussian, and the quality of JPEG. Published numbers count in the ranges
of a level, so a published predictor is told the level of each image. docs/experts.md has the rules.

    python benchmarks/experiments/predictor_errors.py [--samples 4200] [--seeds 1 2 3]

Results of complete trainings are kept in a folder, and a second call continues.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn

from uir.ablation.statistics import Interval, interval, paired
from uir.config.options import load_options
from uir.core.images import read_rgb, to_tensor
from uir.core.progress import console
from uir.core.seeds import derive_seed, torch_generator
from uir.data.held_out_dataset import HeldOutImageDataset
from uir.degradations.dasr_liang_vectoriser import ABSOLUTE, LEVEL_RANGES, DASRLiangVector, Range
from uir.degradations.degrader import Degrader
from uir.degradations.record import RecordBatch
from uir.models.building import build_model

FILE = Path("options/train/dasr_liang_x4_predictor.yml")
OWN, LEGACY, WITHOUT_POOL = "own", "legacy", "legacy_without_pool"
CELLS = {OWN: [], LEGACY: ["train:legacy=true"], WITHOUT_POOL: ["train:legacy=true", "queue_size=~"]}
SCALE, DRAWS, SIDE = 4, 4, 128


@dataclass(frozen=True)
class Quantity:
    """A group of the 33 numbers.

    Attributes:
        name: with its unit.
        what: the key of its ranges.
        places: its places, each with its stage, and with the place that is 1 where it is of this kind (noise).
    """

    name: str
    what: str
    places: tuple[tuple[int, str, int | None], ...]


QUANTITIES = (
    Quantity(
        "blur, σ in pixels", "sigma", ((1, "first", None), (2, "first", None), (5, "second", None), (6, "second", None))
    ),
    Quantity("noise, σ out of 255", "gaussian", ((18, "first", 20), (22, "second", 24))),
    Quantity("JPEG, quality", "quality", ((26, "first", None), (27, "final", None))),
)


@dataclass(frozen=True)
class Level:
    """Degraded images [N, 3, h, w] of one level, and their true numbers [N, 33] in one scale for all levels."""

    name: str
    images: Tensor
    numbers: np.ndarray
    known: np.ndarray

    def has(self, place: int, kind: int | None) -> np.ndarray:
        """Which images have a number [N]."""
        present: np.ndarray = self.known[:, place] & (True if kind is None else self.numbers[:, kind] == 1)
        return present

    def truth(self, place: int, what: str) -> np.ndarray:
        """The true values [N] in the record's unit."""
        low, high = ABSOLUTE[what]
        values: np.ndarray = self.numbers[:, place] * (high - low) + low
        return values


def photographs(phase: str) -> HeldOutImageDataset:
    """The photographs for training, or those that are held out."""
    section = dict(load_options(FILE, is_train=True).raw["datasets"]["train"])
    keys = ("dataroot_gt", "held_out", "split_seed", "degradation", "gt_size", "use_hflip", "use_rot")
    return HeldOutImageDataset(**{key: section[key] for key in keys}, scale=SCALE, phase=phase)


def levels() -> list[Level]:
    """The middle of each held-out photograph, degraded `DRAWS` times at each level."""
    images, result = photographs("val").images, []
    for name in LEVEL_RANGES:
        degrader, degraded, records = Degrader({"type": "dasr_liang", "weights": {name: 1}}, SCALE), [], []
        for file in images.names:
            photograph = to_tensor(read_rgb(images.path(file)))
            top, left = ((size - SIDE) // 2 for size in photograph.shape[1:])
            for draw in range(DRAWS):
                seed = derive_seed(0, "predictor_errors", file, draw)
                image, record = degrader.image(photograph[:, top : top + SIDE, left : left + SIDE], seed)
                degraded.append(image)
                records.append(record)
        targets = DASRLiangVector()(RecordBatch(records))
        result.append(Level(name, torch.stack(degraded), targets.values.numpy(), targets.mask.numpy()))
    return result


def samples(count: int) -> tuple[Tensor, RecordBatch]:
    """Degraded patches for training, with their records."""
    dataset = photographs("train")
    drawn = [dataset.sample(i % len(dataset), derive_seed(0, "samples", i)) for i in range(count)]
    return torch.stack([sample["lq"] for sample in drawn]), RecordBatch(sample["degradation"] for sample in drawn)


def trained(cell: str, seed: int, images: Tensor, records: RecordBatch) -> nn.Module:
    """The predictor after a training; its moving average where the method has one."""
    loaded = load_options(FILE, is_train=True, force=[*CELLS[cell], f"manual_seed={seed}"])
    torch.manual_seed(seed)
    model = build_model(loaded, torch.device("cpu"))
    count = loaded.raw["datasets"]["train"]["batch_size_per_gpu"]
    for iteration in range(1, loaded.raw["train"]["total_iter"] + 1):
        chosen = torch.randint(len(images), (count,), generator=torch_generator(seed, "batch", iteration))
        # No loss reads the clean image here, so the degraded one stands for it.
        batch = {"lq": images[chosen], "gt": images[chosen], "degradation": records.index_select(chosen)}
        model.update_learning_rate(iteration)
        model.feed_data(batch)
        model.optimize_parameters(iteration)
    average = model.ema.get("p")
    network: nn.Module = model.bare["p"] if average is None else average.module
    return network.eval()


def range_of(cell: str, level: str, stage: str, what: str) -> Range:
    """The range in which a training of this kind counts a quantity."""
    return ABSOLUTE[what] if cell == OWN else LEVEL_RANGES[level][stage][what]


def measured(network: nn.Module, cell: str, tests: list[Level]) -> dict[str, dict[str, float]]:
    """Mean absolute error in the record's unit, and correlation within a level; means over the levels."""
    errors: dict[str, list[float]] = {quantity.name: [] for quantity in QUANTITIES}
    related: dict[str, list[float]] = {quantity.name: [] for quantity in QUANTITIES}
    for level in tests:
        with torch.no_grad():
            numbers = torch.cat([network(part).params for part in level.images.split(16)]).numpy()
        for quantity in QUANTITIES:
            misses = []
            for place, stage, kind in quantity.places:
                has = level.has(place, kind)
                if not has.any():
                    continue
                low, high = range_of(cell, level.name, stage, quantity.what)
                truth, guess = level.truth(place, quantity.what)[has], numbers[has, place] * (high - low) + low
                misses.append(np.abs(guess - truth))
                related[quantity.name].append(float(np.corrcoef(guess, truth)[0, 1]))
            errors[quantity.name].append(float(np.concatenate(misses).mean()))
    return {
        name: {"error": statistics.fmean(errors[name]), "correlation": statistics.fmean(related[name])}
        for name in errors
    }


def constant(cell: str, tests: list[Level], quantity: Quantity) -> float:
    """The error of the best constants: one for each place, and for each level too if the level is told."""
    losses: dict[str, list[np.ndarray]] = {level.name: [] for level in tests}
    for place, _, kind in quantity.places:
        truths = {level.name: level.truth(place, quantity.what)[level.has(place, kind)] for level in tests}
        overall = np.median(np.concatenate(list(truths.values())))
        for name, truth in truths.items():
            if len(truth):
                losses[name].append(np.abs(truth - (overall if cell == OWN else np.median(truth))))
    return statistics.fmean(float(np.concatenate(misses).mean()) for misses in losses.values())


def said(difference: Interval | None) -> str:
    """A difference with its sign; a star if its interval does not contain 0."""
    if difference is None:
        return ""
    return difference.text(3, signed=True) + (" *" if difference.is_apart_from_zero else "")


def table_of(results: dict[str, dict[int, Any]], tests: list[Level]) -> Table:
    """Errors and correlations of each cell, and the differences from `legacy`."""
    columns = ("error", "best constant", "minus legacy", "correlation", "minus legacy")
    table = Table("quantity", "training", "seeds", *columns)
    for quantity in QUANTITIES:
        by_cell = {
            cell: {
                key: {seed: run[quantity.name][key] for seed, run in runs.items()} for key in ("error", "correlation")
            }
            for cell, runs in results.items()
        }
        for cell, values in by_cell.items():
            cells = []
            for key in ("error", "correlation"):
                cells.append(interval(list(values[key].values())).text(3))
                cells.append("" if cell == LEGACY else said(paired(values[key], by_cell[LEGACY][key])))
            cells.insert(1, f"{constant(cell, tests, quantity):.3f}")
            table.add_row(quantity.name, cell, str(len(results[cell])), *cells)
    return table


def main() -> None:
    """Train, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--folder", type=Path, default=Path("experiments/predictor_errors"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    tests, (images, records) = levels(), samples(arguments.samples)
    results: dict[str, dict[int, Any]] = {cell: {} for cell in CELLS}
    for seed in arguments.seeds:
        for cell in CELLS:
            file = arguments.folder / f"{cell}_{seed}.json"
            if not file.exists():
                began = time.process_time()
                content = measured(trained(cell, seed, images, records), cell, tests)
                console.print(f"{cell}, seed {seed}: {time.process_time() - began:.0f} s of CPU")
                file.write_text(json.dumps(content), encoding="utf-8")
            results[cell][seed] = json.loads(file.read_text(encoding="utf-8"))
    console.print(table_of(results, tests))


if __name__ == "__main__":
    main()
