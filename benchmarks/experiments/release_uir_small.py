"""Writes the trained uir-small into the package: the restorer's and the classifier's averages in one file, as float16.

The classifier's temperature is fitted on the validation photographs of the training's own split. The card says how the
weights were made.

    python benchmarks/experiments/release_uir_small.py [--run experiments/uir_small]
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import uir
from uir.analysis.calibration import calibration_error, fit_temperature
from uir.archs.half_nafnet_arch import STEP
from uir.config.options import load_options
from uir.core.checkpoint import read_weights, write_release
from uir.core.progress import console
from uir.data.building import evaluation_loaders
from uir.inference.diagnosis import Diagnoser

ROOT = Path(__file__).resolve().parents[2]
DATA = (
    "392 photographs: BSDS500 train and test without those in CBSD68, B100, Rain100 and Set5 (332), Sun-Hays80 (60); "
    "30 of them for validation only. Degradations are uir's own."
)
LICENCE = "Code and weights: Apache-2.0. The photographs of BSDS500 and Sun-Hays80 are for research only."
LARGEST = 8_000_000
EVENED = 0.3
"""So much less; chosen in steps of 0.1 so that no photograph of the demo gets a grid of half a grey level."""


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Floats as float16, which moves an output by less than a grey level of 16 bits."""
    return {key: value.half() if value.is_floating_point() else value for key, value in state.items()}


def evened(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The restorer's weights with a weaker grid: in a flat area, the pixels of a 2×2 square differ less by EVENED."""
    changed = dict(state)
    for kind in ("weight", "bias"):
        of_pixels = state[f"ending.{kind}"].clone().unflatten(0, (-1, STEP**2))
        answer = of_pixels.sum((-1, -2), keepdim=True) if kind == "weight" else of_pixels  # what a flat area gives
        taps = of_pixels[0, 0, 0].numel() if kind == "weight" else 1
        of_pixels += EVENED * (answer.mean(1, keepdim=True) - answer) / taps
        changed[f"ending.{kind}"] = of_pixels.flatten(0, 1)
    return changed


def newest(run: Path, role: str) -> Path:
    """The newest network of a role."""
    files = run.glob(f"models/net_{role}_*.pth")
    numbered = [file for file in files if file.stem.rsplit("_", 1)[1].isdigit()]
    return max(numbered, key=lambda file: int(file.stem.rsplit("_", 1)[1]))


def hours(run: Path, iterations: int) -> float:
    """How long the iterations took, by the log's mean time of one."""
    times = [
        float(value)
        for log in run.glob("train_*.log")
        for value in re.findall(r"time \(data\): ([\d.]+)", log.read_text())
    ]
    return statistics.fmean(times) * iterations / 3600


@torch.no_grad()
def answers(diagnoser: Diagnoser, options: Path) -> tuple[Tensor, Tensor]:
    """Logits and class indices of the validation photographs."""
    logits, target = [], []
    for loader in evaluation_loaders(load_options(options)).values():
        for batch in loader:
            label = batch["degradation"].labels[0]
            if label in diagnoser.labels:
                logits.append(diagnoser.probabilities(batch["lq"]).log())
                target.append(diagnoser.labels.index(label))
    return torch.cat(logits), torch.tensor(target)


def main() -> None:
    """Fit, write and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("experiments/uir_small"))
    parser.add_argument("--opt", type=Path, default=ROOT / "options/train/uir_small.yml")
    parser.add_argument("--output", type=Path, default=ROOT / "uir/weights/uir-small.safetensors")
    arguments = parser.parse_args()
    files = {role: newest(arguments.run, role) for role in ("g", "dc")}
    networks: dict[str, tuple[dict[str, Tensor], dict[str, Any]]] = {}
    about = json.loads((arguments.run / "run.json").read_text(encoding="utf-8"))
    iterations = int(files["g"].stem.rsplit("_", 1)[1])
    made = {
        "trained": f"python -m uir.train -opt options/train/uir_small.yml, seed {about['seed']}, "
        f"{iterations} iterations in {hours(arguments.run, iterations):.1f} hours on one CPU thread",
        "data": DATA, "licence": LICENCE,
    }  # fmt: skip
    for role, file in files.items():
        state, card = read_weights(file)
        networks[role] = (halved(evened(state) if role == "g" else state), {**card, **made, "role": role})
    write_release(arguments.output, networks)
    diagnoser = uir.Restorer.from_pretrained(arguments.output).diagnoser
    if diagnoser is None:
        raise SystemExit(f"{arguments.output}: has no classifier, so there is no temperature to fit")
    logits, target = answers(diagnoser, arguments.opt)
    temperature = fit_temperature(logits, target)
    for divided in (1.0, temperature):
        sure, answer = (logits / divided).softmax(1).max(1)
        error = calibration_error(sure, answer == target)
        console.print(f"T {divided:.2f}: right {(answer == target).float().mean():.1%}, calibration error {error:.1%}")
    networks["dc"][1]["temperature"] = round(temperature, 3)
    write_release(arguments.output, networks)
    size = arguments.output.stat().st_size
    console.print(f"{arguments.output}: {size / 1e6:.1f} MB")
    if size > LARGEST:
        raise SystemExit(f"{arguments.output}: is larger than {LARGEST / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
