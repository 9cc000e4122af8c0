"""Several degraded frames for one clean image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from uir.core.images import write_image
from uir.data.several_frames_dataset import MultiPairedImageDataset


@pytest.fixture
def burst(tmp_path: Path) -> dict[str, Any]:
    """Two clean photographs, each with two frames of one colour."""
    for stem in ("a", "b.1"):
        write_image(tmp_path / "gt" / f"{stem}.png", np.full((12, 10, 3), 90, np.uint8))
        for number in range(2):
            frame = np.full((12, 10, 3), (10, 20 + number, 30), np.uint8)
            write_image(tmp_path / "lq" / stem / f"{number}.png", frame)
    return {"dataroot_gt": str(tmp_path / "gt"), "dataroot_lq": str(tmp_path / "lq")}


@pytest.mark.parametrize(("legacy", "values"), [(False, [10, 20, 30, 10, 21, 30]), (True, [30, 20, 10, 30, 21, 10])])
def test_frames_are_joined_along_the_channels(burst: dict[str, Any], legacy: bool, values: list[int]) -> None:
    dataset = MultiPairedImageDataset(**burst, legacy=legacy, gt_size=8, use_rot=True, multi=True)
    item = dataset.sample(1, seed=2)
    assert (len(dataset), item["lq"].shape, item["gt"].shape) == (2, (6, 8, 8), (3, 8, 8))
    torch.testing.assert_close(item["lq"][:, 0, 0] * 255, torch.tensor(values).float())
    assert item["lq_path"].endswith("lq/b.1")


def test_grey_frames_are_one_channel_each(burst: dict[str, Any]) -> None:
    assert MultiPairedImageDataset(**burst, color="grey", phase="test")[0]["lq"].shape == (2, 12, 10)


def test_folders_with_different_numbers_of_frames_are_refused(burst: dict[str, Any]) -> None:
    (Path(burst["dataroot_lq"]) / "a" / "1.png").unlink()
    with pytest.raises(ValueError, match=r"lq/a has 1 frames and b.1 has 2; expected equally many"):
        MultiPairedImageDataset(**burst)


def test_a_frame_outside_of_a_folder_is_refused(burst: dict[str, Any]) -> None:
    write_image(Path(burst["dataroot_lq"]) / "c.png", np.zeros((12, 10, 3), np.uint8))
    with pytest.raises(ValueError, match=r"contains c.png; expected only folders of frames"):
        MultiPairedImageDataset(**burst)


def test_one_image_instead_of_several_is_another_class(burst: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one degraded image for each clean one is `type: PairedImageDataset`"):
        MultiPairedImageDataset(**burst, multi=False)
