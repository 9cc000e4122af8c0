"""The files of docs/extending.md run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from uir.core.checkpoint import read_file
from uir.layers.code_modulator import build_modulator
from uir.layers.features import FeatureTap
from uir.registry import ARCH_REGISTRY
from uir.registry.plugins import load_plugin
from uir.train import train_pipeline

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extending")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def train(folder: Path, option_file: str) -> Path:
    force = [f"path:experiments_root={folder / option_file.removesuffix('.yml')}", "num_gpu=0", "logger:print_freq=1"]
    return train_pipeline(ROOT, ["-opt", str(folder / option_file), "--force_yml", *force])


@pytest.mark.thorough
def test_own_loss_and_degradation_train(folder: Path) -> None:
    rows = [json.loads(line) for line in (train(folder, "my_run.yml") / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 20
    assert set(rows[0]) >= {"l_pix", "l_gradient"}


def test_dataset_metric_loss_and_vectoriser_train_and_validate(folder: Path) -> None:
    rows = [json.loads(line) for line in (train(folder, "parts.yml") / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["l_pix"] > 0
    assert set(rows[-1]["metrics"]) == {"psnr", "worst"}
    assert 0 < rows[-1]["metrics"]["worst"] < 255


@pytest.mark.thorough
def test_the_steered_backbone_is_given_the_width_of_the_code(folder: Path) -> None:
    card = read_file(train(folder, "steered.yml") / "models" / "net_g_latest.pth")["card"]
    assert card["arch"]["code_channels"] > 0
    assert card["predictor"]["type"] == "CodePredictor"


def test_the_tapped_backbone_gives_its_features(folder: Path) -> None:
    load_plugin(str(folder / "tapped.py"), named_in="test")
    restored, features = FeatureTap(ARCH_REGISTRY.get("TappedBackbone")())(torch.rand(1, 3, 8, 12))
    assert restored.shape == (1, 3, 8, 12)
    assert [tuple(feature.shape) for feature in features] == [(1, 8, 4, 6), (1, 8, 8, 12)]


def test_the_modulator_is_built_by_its_name(folder: Path) -> None:
    load_plugin(str(folder / "small_parts.py"), named_in="test")
    shift = build_modulator("shift", channels=4, code_channels=3)
    x, code = torch.rand(2, 4, 5, 5), torch.rand(2, 3)
    assert torch.allclose(shift(x, code) - x, shift.linear(code)[:, :, None, None].expand_as(x), atol=1e-6)
