"""The README's examples run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from uir.options import load_options
from uir.train import train_pipeline

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", README, re.DOTALL))


def test_the_examples_are_there() -> None:
    assert set(FILES) == {"my_backbone.py", "my_parts.py", "my_run.yml"}


def test_own_backbone_loss_and_degradation_train(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    force = [f"path:experiments_root={tmp_path / 'run'}", "num_gpu=0", "logger:print_freq=1"]
    folder = train_pipeline(ROOT, ["-opt", str(tmp_path / "my_run.yml"), "--force_yml", *force])
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 20
    assert set(rows[0]) >= {"l_pix", "l_gradient"}


def test_the_tour_s_option_file_is_valid(tmp_path: Path) -> None:
    tour = next(block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "base: other.yml" in block)
    (tmp_path / "other.yml").write_text("logger: {print_freq: 10}\n")
    (tmp_path / "my_backbone.py").write_text("")
    (tmp_path / "tour.yml").write_text(tour)
    assert load_options(tmp_path / "tour.yml").options.precision == "bf16"


@pytest.mark.parametrize("file", sorted((ROOT / "options").glob("t*/*.yml")), ids=lambda p: p.name)
def test_every_shipped_option_file_is_valid(file: Path) -> None:
    load_options(file, is_train="train" in yaml.safe_load(file.read_text()))


def test_the_readme_s_links_exist() -> None:
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (ROOT / target).exists(), target
