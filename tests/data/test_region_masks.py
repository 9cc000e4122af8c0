"""Masks of regions beside pairs of images: read, cut, matched by name, and used by a score."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from uir.config.options import load_options
from uir.data.paired_image_dataset import PairedImageDataset
from uir.engine.testing import test as run_test
from uir.metrics import psnr


@pytest.fixture
def masks(pair_folders: Path, tmp_path: Path) -> Path:
    """A mask for each clean image: a box in the upper left quarter."""
    (tmp_path / "masks").mkdir()
    for path in (pair_folders / "gt").iterdir():
        mask = np.zeros(cv2.imread(str(path)).shape[:2], np.uint8)
        mask[2:20, 3:30] = 255
        cv2.imwrite(str(tmp_path / "masks" / f"{path.stem}.bmp"), mask)
    return tmp_path / "masks"


def same_twice(pairs: Path, **more: object) -> PairedImageDataset:
    roots = {"dataroot_gt": str(pairs / "gt"), "dataroot_lq": str(pairs / "gt")}
    return PairedImageDataset(**roots, **({"phase": "test"} | more))  # type: ignore[arg-type]


def test_a_sample_has_the_mask_of_its_image(pair_folders: Path, masks: Path) -> None:
    sample = same_twice(pair_folders, regions={"person": masks})[0]
    mask = sample["regions"]["person"]
    assert mask.shape == (1, *sample["gt"].shape[-2:])
    assert mask.sum() == 18 * 27
    assert bool((mask[0, 2:20, 3:30] == 1).all())


def test_an_image_without_a_mask_is_named(pair_folders: Path, masks: Path) -> None:
    (masks / "3.bmp").unlink()
    with pytest.raises(ValueError, match=r"regions\.person: .* lacks the masks of 1 images, the first of '3\.png'"):
        same_twice(pair_folders, regions={"person": masks})


def test_a_mask_that_is_too_small_is_named(pair_folders: Path, masks: Path) -> None:
    cv2.imwrite(str(masks / "0.bmp"), np.zeros((8, 9), np.uint8))
    with pytest.raises(ValueError, match=r"0\.bmp: the mask is 8x9 \(height x width\), its image 64x72"):
        same_twice(pair_folders, regions={"person": masks})


def test_training_has_no_regions(pair_folders: Path, masks: Path) -> None:
    with pytest.raises(ValueError, match="regions: scores of regions are for validation and test"):
        same_twice(pair_folders, regions={"person": masks}, phase="train")


def test_a_score_of_an_option_file_measures_the_region(pair_folders: Path, masks: Path, tmp_path: Path) -> None:
    noisy = tmp_path / "noisy"
    noisy.mkdir()
    generator = np.random.default_rng(0)
    expected = []
    for path in sorted((pair_folders / "gt").iterdir()):
        gt = cv2.imread(str(path))
        lq = gt.copy()
        lq[2:20, 3:30] = np.clip(lq[2:20, 3:30] + generator.normal(0, 20, (18, 27, 3)), 0, 255).astype(np.uint8)
        lq[40:] = 0  # an error outside of the region
        cv2.imwrite(str(noisy / path.name), lq)
        sides = (torch.from_numpy(each[2:20, 3:30].astype(np.float32) / 255).permute(2, 0, 1) for each in (lq, gt))
        expected.append(psnr(*sides).item())
    data = {
        "type": "PairedImageDataset", "dataroot_gt": str(pair_folders / "gt"), "dataroot_lq": "noisy",
        "regions": {"person": "masks"},
    }  # fmt: skip
    score = {"type": "CompositeScore", "terms": [{"metric": "PSNR", "weight": 1, "region": "person"}]}
    options = {
        "name": "regions", "model_type": "SRModel", "scale": 1, "num_gpu": 0, "datasets": {"test": data},
        "network_g": {"type": "Identity"}, "val": {"metrics": {"score": score}},
    }  # fmt: skip
    (tmp_path / "test.yml").write_text(yaml.safe_dump(options))
    (found,) = run_test(load_options(tmp_path / "test.yml", is_train=False), quiet=True)
    assert found.results["score"] == pytest.approx(np.mean(expected), abs=1e-4)
