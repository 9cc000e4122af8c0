"""Datasets that give grey images or the luma."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from dataset_configs import NOISE, SIDE, write_pictures

from uir.core.images import to_grey
from uir.registry.components import build

COLOUR = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.uint8)


def dataset(kind: str, folder: Path, **more: Any) -> Any:
    arguments: dict[str, Any] = {"dataroot_gt": str(folder / "gt"), "phase": "val", **more}
    if kind == "PairedImageDataset":
        arguments["dataroot_lq"] = str(folder / "lq")
    else:
        arguments["degradation"] = NOISE
    if kind == "HeldOutImageDataset":
        arguments["held_out"] = 2
    return build("datasets", {"type": kind, **arguments})


@pytest.mark.parametrize(
    "kind", ["PairedImageDataset", "DegradedImageDataset", "ContrastiveDataset", "HeldOutImageDataset"]
)
@pytest.mark.parametrize("phase", ["train", "val"])
def test_gives_one_channel(kind: str, phase: str, tmp_path: Path) -> None:
    grey = dataset(kind, write_pictures(tmp_path), phase=phase, gt_size=SIDE, color="grey")
    sample = grey.sample(0, seed=3)
    images = [value for value in sample.values() if isinstance(value, torch.Tensor)]
    assert len(images) == (3 if kind == "ContrastiveDataset" and phase == "train" else 2)
    assert all(image.shape[0] == 1 for image in images)
    assert grey.color == "grey"


def test_noise_of_one_channel_is_drawn_for_a_batch_on_the_device(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path)
    late = dataset("DegradedImageDataset", folder, phase="train", gt_size=SIDE, color="grey", degrade_on="device")
    sample = late.sample(0, seed=3)
    batch = {"gt": sample["gt"][None], "degradation_seed": torch.tensor([sample["degradation_seed"]])}
    assert late.finish_batch(batch, torch.device("cpu"))["lq"].shape == (1, 1, SIDE, SIDE)


def test_grey_is_what_opencv_makes_of_the_file(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path)
    sample = dataset("PairedImageDataset", folder, color="grey").sample(1, seed=0)
    expected = cv2.cvtColor(cv2.imread(str(folder / "gt" / "1.png")), cv2.COLOR_BGR2GRAY)
    assert np.array_equal((sample["gt"][0] * 255).round().numpy(), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_colour_file_and_its_grey_copy_give_the_same(dtype: Any) -> None:
    levels = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    image = (COLOUR.astype(np.float64) * levels).astype(dtype)
    copy = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None]
    assert to_grey(image).shape == (9, 11, 1)
    assert np.array_equal(to_grey(image), to_grey(copy))
    with_alpha = np.concatenate([image, image[:, :, :1]], axis=2)
    assert np.array_equal(to_grey(with_alpha), to_grey(copy))


def test_luma_of_a_grey_file_has_studio_range(tmp_path: Path) -> None:
    for side in ("gt", "lq"):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "0.png"), np.array([[0, 255]], np.uint8).repeat(4, 0))
    luma = dataset("PairedImageDataset", tmp_path, color="y").sample(0, seed=0)["gt"]
    torch.testing.assert_close(luma[0, 0] * 255, torch.tensor([16.0, 235.0]))


def test_another_colour_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"color: got 'gray'; expected rgb, grey or y"):
        dataset("DegradedImageDataset", write_pictures(tmp_path), color="gray")
