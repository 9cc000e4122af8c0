"""Training on images that are degraded on the device, in whole batches, and mixed by a pool."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from uir.config.options import load_options
from uir.core.checkpoint import read_file
from uir.engine.train_loop import train

Write = Callable[..., Path]


@pytest.fixture
def on_the_device(write_options: Write, pair_folders: Path) -> Path:
    """A run whose batches are degraded by the second-order recipe on the training device."""
    dataset: dict[str, Any] = {
        "type": "DegradedImageDataset", "dataroot_gt": str(pair_folders / "gt"), "gt_size": 32, "crop_size": 24,
        "degradation": {"type": "realesrgan", "scale": 2}, "target": {"type": "USMSharpen", "radius": 5},
        "degrade_on": "device", "batch_size_per_gpu": 2, "pair_pool": 4, "dataset_enlarge_ratio": 4,
    }  # fmt: skip
    return write_options({"datasets.train": dataset})


def losses(folder: Path) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row["l_pix"] for row in map(json.loads, lines) if "l_pix" in row]


@pytest.mark.thorough
def test_a_resumed_run_equals_an_uninterrupted_one(on_the_device: Path) -> None:
    whole = train(load_options(on_the_device, force=["name=whole"]))
    train(load_options(on_the_device, force=["name=parts", "train:total_iter=3"]))
    parts = train(load_options(on_the_device, force=["name=parts"]), auto_resume=True)
    assert len(losses(whole)) == 6
    assert losses(whole) == losses(parts)
    one, other = (read_file(folder / "models" / "net_g_6.pth")["params"] for folder in (whole, parts))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.thorough
def test_the_number_of_workers_changes_nothing(on_the_device: Path) -> None:
    alone = train(load_options(on_the_device, force=["name=alone"]))
    helped = train(load_options(on_the_device, force=["name=helped", "datasets:train:num_worker_per_gpu=2"]))
    assert losses(alone) == losses(helped)
