"""A sheet of pictures of an ablation's networks on a photograph of one's own, degraded as its validation sets are.

    python benchmarks/experiments/rivals_sheet.py [options/ablation/all_in_one_proxy.yml] [--photograph FILE]
                                                  [--out docs/rivals.jpg]

A row for each validation set, a column for each cell (its first finished run), between the degraded and the clean
picture: the middle 128×128 pixels of the photograph. The ablation's own sheet shows a photograph of its data, which may
not be passed on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch import Tensor

from uir.ablation.grid import read_ablation
from uir.ablation.pictures import Example, example_of, write_examples
from uir.ablation.runs import plan_runs
from uir.ablation.trained import Trained, read_trained
from uir.core.images import read_rgb, to_tensor
from uir.data.building import evaluation_loaders
from uir.registry.components import build

ROOT = Path(__file__).resolve().parents[2]
SIDE = 128


def degradations_of(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The degradation of each validation set, by its label."""
    sets = [spec for name, spec in options["datasets"].items() if name.startswith("val")]
    own = [spec.get("dataset") or spec for spec in sets]
    return {spec["label"]: spec["degradation"] for spec in own}


def examples_of(trained: Trained, clean: Tensor, degradations: dict[str, dict[str, Any]]) -> dict[str, Example]:
    """The photograph [1, 3, h, w] with each degradation, restored as the validation sets were."""
    examples = {}
    for loader, (label, spec) in zip(evaluation_loaders(trained.measured).values(), degradations.items(), strict=True):
        lq, _ = build("degradations", spec)(clean[0], seed=7)
        batch = dict(next(iter(loader))) | {"lq": lq[None], "gt": clean, "lq_path": ["photograph"]}
        examples[label] = example_of(trained, batch)
    return examples


def main() -> None:
    """Restore and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=ROOT / "options/ablation/all_in_one_proxy.yml")
    parser.add_argument("--photograph", type=Path, default=ROOT / "datasets/demo/test/flower.jpg")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/rivals.jpg")
    arguments = parser.parse_args()
    photograph = to_tensor(read_rgb(arguments.photograph))
    top, left = ((length - SIDE) // 2 for length in photograph.shape[-2:])
    clean = photograph[None, :, top : top + SIDE, left : left + SIDE]
    examples: dict[str, dict[str, Example]] = {}
    for run in plan_runs(read_ablation(arguments.file), ROOT, []).runs:
        trained = None if run.cell in examples else read_trained(run, ROOT)
        if trained is not None:
            examples[run.cell] = examples_of(trained, clean, degradations_of(dict(run.options["train"])))
    print(write_examples(arguments.out, examples))


if __name__ == "__main__":
    main()
