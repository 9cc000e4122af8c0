"""The README's examples run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from uir.config.options import load_options
from uir.core.checkpoint import read_file
from uir.train import train_pipeline

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", README, re.DOTALL))


def test_the_examples_are_there() -> None:
    assert set(FILES) == {
        "my_backbone.py", "my_parts.py", "my_run.yml", "my_encoder.py", "my_blind_sr.yml", "my_method.py",
        "my_method.yml",
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples: a name can be registered by one file only."""
    folder = tmp_path_factory.mktemp("readme")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def rows_of(option_file: str, folder: Path, *more: str) -> list[dict[str, Any]]:
    """What a training by one of the README's option files logs in each iteration."""
    force = [f"path:experiments_root={folder}", "num_gpu=0", "logger:print_freq=1", *more]
    run = train_pipeline(ROOT, ["-opt", str(folder / option_file), "--force_yml", *force])
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.thorough
def test_own_backbone_loss_and_degradation_train(folder: Path) -> None:
    rows = rows_of("my_run.yml", folder)
    assert len(rows) == 20
    assert set(rows[0]) >= {"l_pix", "l_gradient"}


def test_own_encoder_steers(folder: Path) -> None:
    rows = rows_of("my_blind_sr.yml", folder, "train:total_iter=2")
    assert len(rows) == 2
    assert set(rows[0]) >= {"l_pix", "l_contrastive"}
    card = read_file(folder / "my_blind_sr" / "models" / "net_g_latest.pth")["card"]
    assert card["arch"]["code_channels"] == 32
    assert "body.0.weight" in read_file(folder / "my_blind_sr" / "models" / "net_e_latest.pth")["params"]


def test_own_method_trains_both_networks(folder: Path) -> None:
    rows = rows_of("my_method.yml", folder, "train:total_iter=3")
    assert set(rows[-1]) >= {"l_pix", "l_fool", "l_critic"}
    weights = {role: read_file(folder / "my_method" / "models" / f"net_{role}_latest.pth") for role in "gd"}
    assert weights["g"]["card"]["predictor"] == {"type": "NetworkPredictor"}
    assert "params_ema" in weights["g"]
    assert "params_ema" not in weights["d"]


def test_the_tour_s_option_file_is_valid(tmp_path: Path) -> None:
    tour = next(block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "base: other.yml" in block)
    (tmp_path / "other.yml").write_text("logger: {print_freq: 10}\n")
    (tmp_path / "my_backbone.py").write_text("")
    (tmp_path / "tour.yml").write_text(tour)
    assert load_options(tmp_path / "tour.yml").options.precision == "bf16"


@pytest.mark.thorough
@pytest.mark.parametrize("file", sorted((ROOT / "options").glob("t*/*.yml")), ids=lambda p: p.name)
def test_every_shipped_option_file_is_valid(file: Path) -> None:
    load_options(file, is_train="train" in yaml.safe_load(file.read_text()))


def test_the_readme_s_links_exist() -> None:
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (ROOT / target).exists(), target
