"""A small configuration of every registered dataset, on folders with pictures of one size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SIDE = 16
AUGMENTED = {"gt_size": SIDE, "use_hflip": True, "use_rot": True}
NOISE = {"type": "GaussianNoise", "sigma": [5, 50]}


def write_pictures(folder: Path, count: int = 4) -> Path:
    """The folders gt, lq, hazy (`0_0.8.png` of `0.png`), rainy (`0_0.8_a.png` of `0_0.8.png`) and frames (`0/0.png`).

    Each has as many pictures of 24×30; beside them is a list of the pairs.
    """
    degraded = ("lq/{}", "hazy/{}_0.8", "rainy/{}_0.8_a", "frames/{}/0")
    for number in range(count):
        clean = np.random.default_rng(number).integers(0, 256, (24, 30, 3)).astype(np.uint8)
        for name, picture in (("gt/{}", clean), *((name, 255 - clean // 2) for name in degraded)):
            file = folder / f"{name.format(number)}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), picture)
    (folder / "pairs.txt").write_text("".join(f"{number}.png {number}.png\n" for number in range(count)))
    return folder


def clean(folder: Path, **more: Any) -> dict[str, Any]:
    """Arguments of a dataset that degrades clean pictures."""
    return {"dataroot_gt": str(folder / "gt"), **AUGMENTED, **more}


def pairs(folder: Path, lq: str = "lq", **more: Any) -> dict[str, Any]:
    """Arguments of a dataset that reads pairs."""
    return clean(folder, dataroot_lq=str(folder / lq), **more)


def tasks(folder: Path) -> dict[str, Any]:
    """One task of each kind."""
    degraded = {"type": "DegradedImageDataset", "dataroot_gt": str(folder / "gt"), "degradation": NOISE}
    paired = {"type": "PairedImageDataset", "dataroot_gt": str(folder / "gt"), "dataroot_lq": str(folder / "lq")}
    return {"tasks": {"noise": degraded, "dark": paired}, "sampling": "uniform", **AUGMENTED}


# A registered class without an entry fails tests/data/test_every_dataset.py.
DATASETS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "CenterCropDataset": lambda folder: {"dataset": {"type": "PairedImageDataset", **pairs(folder)}, "size": 10},
    "ContrastiveDataset": lambda folder: clean(folder, degradation=NOISE),
    "DegradedImageDataset": lambda folder: clean(folder, degradation=NOISE),
    "HeldOutImageDataset": lambda folder: clean(folder, degradation=NOISE, held_out=2),
    "MultiPairedImageDataset": lambda folder: pairs(folder, "frames"),
    "MultiTaskDataset": tasks,
    "PairedImageDataset": pairs,
    "PairedImageDehazeDataset": lambda folder: pairs(folder, "hazy", suffix=".png"),
    "PairedImageDenoiseDataset": clean,
    "PairedImageGaussianBlurDataset": clean,
    "PairedImageInpaintingDataset": lambda folder: clean(folder, width=[2, 4]),
    "PairedImageJPEGCARDataset": clean,
    "PairedImageMosaicDataset": clean,
    "PairedImageOutdoorRainDataset": lambda folder: {**pairs(folder, "rainy"), "dataroot_gt": str(folder / "hazy")},
    "PairedImageTxtlistDataset": lambda folder: pairs(folder, meta_info_file=str(folder / "pairs.txt")),
    "RankingDataset": lambda folder: clean(folder, degradation=NOISE, factors=["GaussianNoise.sigma_255"]),
    "ScenesDataset": lambda folder: {"scenes": tasks(folder)["tasks"], **AUGMENTED},
}
