"""HeldOutImageDataset: a seeded split of one folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from uir.data.degraded_image_dataset import DegradedImageDataset
from uir.data.held_out_dataset import HeldOutImageDataset
from uir.data.multi_task_dataset import MultiTaskDataset

NOISE = {"type": "GaussianNoise", "sigma": 25}


def names(folder: Path, phase: str, held_out: int = 2, split_seed: int = 0) -> set[str]:
    dataset = HeldOutImageDataset(str(folder / "gt"), NOISE, held_out, split_seed, phase=phase)
    assert len(dataset) == len(dataset.images.names)
    return {Path(dataset[index]["gt_path"]).name for index in range(len(dataset))}


def test_training_and_validation_share_the_folder_s_images_out(pair_folders: Path) -> None:
    train, val, test = (names(pair_folders, phase) for phase in ("train", "val", "test"))
    assert not train & val
    assert train | val == {f"{index}.png" for index in range(6)}
    assert (len(val), test) == (2, val)


def test_another_seed_holds_out_others_and_the_same_seed_the_same(pair_folders: Path) -> None:
    splits = [frozenset(names(pair_folders, "val", split_seed=seed)) for seed in range(6)]
    assert splits[0] == names(pair_folders, "val")
    assert len(set(splits)) > 1


def test_a_held_out_image_is_what_the_whole_folder_gives(pair_folders: Path) -> None:
    held = HeldOutImageDataset(str(pair_folders / "gt"), NOISE, 2, phase="val", label="noise")[0]
    whole = DegradedImageDataset(str(pair_folders / "gt"), NOISE, phase="val", label="noise")
    same = next(item for item in (whole[i] for i in range(6)) if item["gt_path"] == held["gt_path"])
    assert torch.equal(held["lq"], same["lq"])


def test_tasks_of_a_mix_hold_out_the_same_photographs(pair_folders: Path) -> None:
    spec = {"type": "HeldOutImageDataset", "dataroot_gt": str(pair_folders / "gt"), "held_out": 2}
    tasks = {"noise": {**spec, "degradation": NOISE}, "haze": {**spec, "degradation": {"type": "Haze"}}}
    mix = MultiTaskDataset(tasks, gt_size=16)
    seen = {Path(mix[index]["gt_path"]).name for index in range(len(mix))}
    assert len(mix) == 8
    assert not seen & names(pair_folders, "val")


@pytest.mark.parametrize("held_out", [0, 6])
def test_an_empty_side_is_refused(pair_folders: Path, held_out: int) -> None:
    with pytest.raises(ValueError, match=f"held_out: got {held_out}; expected at least 1 and fewer than the 6 images"):
        names(pair_folders, "val", held_out)


def test_a_training_patch_is_cut_after_degrading(pair_folders: Path) -> None:
    arguments = {"dataroot_gt": str(pair_folders / "gt"), "degradation": NOISE, "gt_size": 16}
    large, small = (
        HeldOutImageDataset(**arguments, held_out=2),
        HeldOutImageDataset(**arguments, held_out=2, crop_size=8),
    )
    whole, cut = large.sample(0, seed=3), small.sample(0, seed=3)
    windows = whole["lq"].unfold(1, 8, 1).unfold(2, 8, 1).permute(1, 2, 0, 3, 4)
    assert cut["lq"].shape == cut["gt"].shape == (3, 8, 8)
    assert (windows == cut["lq"]).flatten(2).all(2).any()
