"""The middle of another data set's images."""

from pathlib import Path
from typing import Any

import pytest
import torch

from uir.registry.components import build


def cropped(pair_folders: Path, size: int, scale: int = 2, **more: Any) -> Any:
    pairs = {"type": "PairedImageDataset", "dataroot_gt": str(pair_folders / "gt"), **more}
    pairs.setdefault("dataroot_lq", str(pair_folders / "lq"))
    return build("datasets", {"type": "CenterCropDataset", "size": size, "dataset": pairs}, {"scale": scale})


def test_both_images_are_cut_in_the_same_place(pair_folders: Path) -> None:
    dataset = cropped(pair_folders, 24, label="blur")
    whole, middle = dataset.dataset[1], dataset[1]
    assert torch.equal(middle["gt"], whole["gt"][:, 20:44, 24:48])  # of 64 x 72
    assert torch.equal(middle["lq"], whole["lq"][:, 10:22, 12:24])
    assert middle["gt_path"] == whole["gt_path"]
    assert middle["degradation"].label == "blur"
    assert (len(dataset), dataset.labels) == (6, ("blur",))


def test_a_shorter_side_stays_whole(pair_folders: Path) -> None:
    assert cropped(pair_folders, 68)[0]["gt"].shape == (3, 64, 68)
    assert cropped(pair_folders, 256)[0]["lq"].shape == (3, 32, 36)


def test_it_can_be_a_task_of_a_mixture(pair_folders: Path) -> None:
    gt = str(pair_folders / "gt")
    inner = {"type": "PairedImageDataset", "dataroot_gt": gt, "dataroot_lq": gt}
    tasks = {"blur": {"type": "CenterCropDataset", "size": 8, "dataset": inner}}
    sample = build("datasets", {"type": "MultiTaskDataset", "tasks": tasks}, {"scale": 1, "phase": "val"})[0]
    assert sample["gt"].shape == (3, 8, 8)
    assert sample["degradation"].label == "blur"


@pytest.mark.parametrize("size", [0, 7])
def test_a_size_that_does_not_fit_is_refused(pair_folders: Path, size: int) -> None:
    with pytest.raises(ValueError, match=f"size: got {size}; expected a multiple of scale 2 above 0"):
        cropped(pair_folders, size)


def test_what_is_wrong_with_the_data_set_is_said(pair_folders: Path) -> None:
    with pytest.raises(ValueError, match="dataset: dataroot_lq: there is no folder"):
        cropped(pair_folders, 8, dataroot_lq="nowhere")
