"""Turns the knobs of a DASR-Liang on real photographs, and says how often a result follows them (docs/experts.md).

`blur_sigma` should raise the mean squared gradient of the result, and `noise` should lower the noise in it, as
scikit-image estimates it. A photograph follows a knob if this is so at every step of a sweep.

    python benchmarks/experiments/knob.py PHOTOGRAPHS [--model net_g_latest.pth] [--side 128] [--picture sweep.jpg]

`--picture` restores a photograph of the demo that is blurred and noisy, and writes both sweeps side by side.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.table import Table
from skimage.restoration import estimate_sigma

from uir import Restorer
from uir.ablation.statistics import interval
from uir.core.images import list_images, read_rgb, to_float, to_tensor
from uir.core.progress import console
from uir.core.sheets import write_sheet
from uir.degradations.degrader import Degrader

DEMO = Path("datasets/demo/test/coffee.png")
MODEL = Path("experiments/dasr_liang_x4_small/models/net_g_latest.pth")
SUPPORTED, REFUTED = 0.8, 0.5


def gradient_energy(image: np.ndarray) -> float:
    """Mean squared difference of neighbouring pixels, [H, W, 3] in [0, 1], times 10,000."""
    across, down = np.diff(image, axis=1), np.diff(image, axis=0)
    return 1e4 * float((across**2).mean() + (down**2).mean())


def estimated_noise(image: np.ndarray) -> float:
    """Standard deviation of the noise out of 255, from the wavelets of [H, W, 3] in [0, 1]."""
    return 255 * float(estimate_sigma(image, channel_axis=-1, average_sigmas=True))


KNOBS: dict[str, tuple[tuple[float, ...], Callable[[np.ndarray], float], int]] = {
    "blur_sigma": ((0.2, 0.9, 1.6, 2.3, 3.0), gradient_energy, 1),
    "noise": ((1.0, 8.25, 15.5, 22.75, 30.0), estimated_noise, -1),
}
"""Of each knob: its values, what is measured of a result, and whether that should rise (1) or fall (-1)."""


def middle(image: np.ndarray, side: int) -> np.ndarray:
    """The middle of a photograph, at most `side` pixels high and wide."""
    top, left = (max(0, (size - side) // 2) for size in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def sweep(restorer: Restorer, image: np.ndarray, knob: str) -> list[np.ndarray]:
    """The results for the values of a knob, float [H, W, 3]."""
    return [restorer(image, **{knob: value}) for value in KNOBS[knob][0]]


def follows(values: list[float], sign: int) -> bool:
    """Whether the values rise (`sign` 1) or fall (-1) at every step."""
    return all(sign * (after - before) > 0 for before, after in itertools.pairwise(values))


def verdict(share: float) -> str:
    """What the rules say."""
    if share >= SUPPORTED:
        return "supported"
    return "refuted" if share < REFUTED else "open"


def picture(restorer: Restorer, file: Path, side: int) -> None:
    """Both sweeps of a photograph of the demo that is blurred, reduced and noisy."""
    steps = [{"type": "dasr_wang_iso", "scale": 4, "sigma": [2.0, 2.0]}, {"type": "GaussianNoise", "sigma": 8}]
    clean = to_tensor(middle(read_rgb(DEMO), 4 * side))
    lq = Degrader({"type": "Sequence", "steps": steps}, 4).image(clean, seed=0)[0].permute(1, 2, 0).numpy()
    lq = np.ascontiguousarray(lq.clip(0, 1))
    enlarged = cv2.resize(lq, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC).clip(0, 1)
    rows = [
        (f"{knob} {values[0]:g} to {values[-1]:g}", [enlarged, *sweep(restorer, lq, knob)])
        for knob, (values, _, _) in KNOBS.items()
    ]
    titles = ["bicubic", "1", "2", "3", "4", "5"]
    write_sheet(file, [(label, [middle(result, side) for result in results]) for label, results in rows], titles, 190)
    console.print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Restore, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--side", type=int, default=128, help="the middle of a photograph, in pixels")
    parser.add_argument("--picture", type=Path, help="a JPEG or PNG with a sweep of each knob")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    restorer, began = Restorer.from_pretrained(arguments.model), time.process_time()
    files = list_images(arguments.photographs)
    table = Table("knob", "photographs", "follow at every step", "in the mean", "last minus first", "verdict")
    for knob, (_, measure, sign) in KNOBS.items():
        measured = []
        for file in files:
            image = middle(to_float(read_rgb(file)), arguments.side)
            measured.append([measure(result) for result in sweep(restorer, image, knob)])
        share = statistics.fmean(follows(values, sign) for values in measured)
        means = [statistics.fmean(column) for column in zip(*measured, strict=True)]
        change = interval([values[-1] - values[0] for values in measured])
        shown = ", ".join(f"{mean:.2f}" for mean in means)
        table.add_row(knob, str(len(files)), f"{share:.0%}", shown, change.text(2, signed=True), verdict(share))
    console.print(table)
    console.print(f"{time.process_time() - began:.0f} s of CPU")
    if arguments.picture:
        picture(restorer, arguments.picture, arguments.side)


if __name__ == "__main__":
    main()
