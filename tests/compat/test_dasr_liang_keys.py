"""The option file of csjliang/DASR is read as uir's recipe and method, and trains."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from uir.config.options import OptionError, load_options
from uir.data.building import training_stream
from uir.degradations.dasr_liang_vectoriser import DASRLiangVector
from uir.engine.train_loop import train

FILE = Path(__file__).parent / "published_forms" / "dasr_liang.yml"


@pytest.mark.thorough
def test_its_file_is_read_as_the_recipe_as_published():
    options = load_options(FILE).options
    train = options.datasets["train"]
    assert train.type == "DegradedImageDataset"
    spec = {**train.model_dump(), **(train.model_extra or {})}
    assert [step["type"] for step in spec["degradation"]["steps"]] == ["USMSharpen", "dasr_liang"]
    assert spec["degradation"]["steps"][1]["weights"] == {"severe": 0.4, "standard": 0.3, "weak": 0.3}
    assert (spec["gt_size"], spec["crop_size"], options.queue_size) == (400, 256, 192)
    assert options.train.legacy
    assert options.train.optim_p.lr == options.train.optim_g.lr == 1e-4
    assert "cycle_opt" not in (options.train.model_extra or {})


def test_another_range_is_refused_with_the_way_to_write_it(tmp_path):
    (tmp_path / "f.yml").write_text(
        FILE.read_text().replace("noise_range_weak1: [1, 10]", "noise_range_weak1: [1, 12]")
    )
    with pytest.raises(OptionError, match=r"noise_range_weak1.*the recipe dasr_liang has \[1, 10\]"):
        load_options(tmp_path / "f.yml")


@pytest.mark.thorough
def test_its_file_trains(tmp_path):
    folder = tmp_path / "clean"
    folder.mkdir()
    for index in range(2):
        noise = np.random.RandomState(index).randint(0, 255, (410, 420, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.GaussianBlur(noise, (0, 0), 2))
    text = FILE.read_text().replace("num_feat: 64", "num_feat: 4").replace("nf: 64", "nf: 4")
    text = text.replace("num_block: 16", "num_block: 1").replace("batch_size_per_gpu: 6", "batch_size_per_gpu: 2")
    text = text.replace("num_worker_per_gpu: 5", "num_worker_per_gpu: 0").replace("num_gpu: 4", "num_gpu: 0")
    text = text.replace("datasets/DF2K\n", f"{folder}\n")
    start, end = text.index("  perceptual_opt:"), text.index("  regress_opt:")
    (tmp_path / "f.yml").write_text(text[:start] + text[end:])  # which needs the weights of a VGG
    loaded = load_options(tmp_path / "f.yml", root=tmp_path)
    batch = training_stream(loaded).next()
    assert batch["lq"].shape == (2, 3, 64, 64)
    DASRLiangVector(legacy=True)(batch["degradation"])
    changes = [
        "train:total_iter=2",
        "logger:print_freq=2",
        "logger:use_tb_logger=false",
        "logger:save_checkpoint_freq=2",
    ]
    folder = train(load_options(tmp_path / "f.yml", force=changes, root=tmp_path))
    row = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    losses = [row[name] for name in ("l_g_pix", "l_g_regress", "l_g_gan", "l_d_real", "l_d_fake")]
    assert np.isfinite(losses).all()
    assert {file.name for file in (folder / "models").iterdir()} >= {f"net_{role}_2.pth" for role in "gpd"}
