"""Rival restorers from training to `uir restore`: exact resume, and odd sizes in tiles, by the card of the weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from arch_configs import ARCH_CONFIGS
from model_configs import MODELS, restoring_changes
from typer.testing import CliRunner

from uir.cli.main import app
from uir.config.options import load_options
from uir.core.checkpoint import read_file
from uir.engine.train_loop import train
from uir.registry.components import build

pytestmark = pytest.mark.thorough

Write = Callable[..., Path]
DIFFUSION = ("DACLIPModel", "DiffUIRModel", "IRSDEModel", "RefusionModel", "WeatherDiffModel")
PLAIN = ("TransWeather", "TransWeatherBase", "AdaIR")
METHODS = (
    "MoCEIRModel",
    "OneRestoreModel",
    "IDRModel",
    "InstructIRModel",
    "DiffIRS1Model",
    "DiffIRS2Model",
)
# The second stage of IDR, which restores in another way than its first.
VARIANTS: dict[str, dict[str, Any]] = {
    "IDRModel-ingredients": {"train.keys": "ingredients", "train.hub_opt": None},
}
ALL = (*PLAIN, *METHODS, *DIFFUSION, *VARIANTS)
ROOT = Path(__file__).resolve().parents[2]


def changes_for(name: str, pairs: Path) -> dict[str, Any]:
    """Two steps of a network by its method, each of them saved."""
    method = name.partition("-")[0]
    made = MODELS[method](pairs) if method in MODELS else {
        **restoring_changes(pairs), "network_g": {"type": name, **ARCH_CONFIGS[name]}
    }  # fmt: skip
    model = method if method in MODELS else "SRModel"
    kept = {
        **made,
        **VARIANTS.get(name, {}),
        "model_type": model,
        "train.total_iter": 2,
        "logger.save_checkpoint_freq": 1,
    }
    return {**kept, "val": None, "datasets.val": None}


def test_every_network_of_the_documentation_is_tried(pair_folders: Path) -> None:
    documented = re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "rivals.md").read_text(), re.MULTILINE)
    tried = {changes_for(name, pair_folders)["network_g"]["type"] for name in ALL}
    assert len(documented) > 15
    assert set(documented) == tried


def test_documented_sizes_are_those_of_the_networks() -> None:
    rows = re.findall(r"^\| `(\w+)`(.*?) \|.*?\| ([\d.]+) M", (ROOT / "docs" / "rivals.md").read_text(), re.MULTILINE)
    assert len(rows) > 15
    for name, variant, millions in rows:
        given = ", ".join(re.findall(r"`(\w+: [^`]+)`", variant))
        arguments = {"resolution": 128, "ch_mult": [1, 1, 2, 3, 4]} if variant == ", patches of 128" else {}
        with torch.device("meta"):
            network = build("archs", {"type": name, **arguments, **yaml.safe_load(f"{{{given}}}")})
        count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        # Published numbers include layers that never run; TransWeather has the largest of them.
        assert count == pytest.approx(float(millions), abs=0.3 if name.startswith("TransWeather") else 0.02), (
            name + variant
        )


@pytest.mark.parametrize("name", ALL)
def test_a_resumed_run_is_the_same_and_restores_by_its_card(
    name: str, write_options: Write, pair_folders: Path, tmp_path: Path
) -> None:
    options = write_options(changes_for(name, pair_folders))
    whole = train(load_options(options, force=["name=whole"]))
    train(load_options(options, force=["name=parts", "train:total_iter=1"]))
    parts = train(load_options(options, force=["name=parts"]), auto_resume=True)
    files = sorted(file.name for file in (whole / "models").glob("net_*_2.pth"))
    for file in files:
        one, other = (read_file(run / "models" / file)["params"] for run in (whole, parts))
        assert [key for key, value in one.items() if not torch.equal(value, other[key])] == [], file

    picture = cv2.imread(str(pair_folders / "gt" / "0.png"))[:59, :71]
    cv2.imwrite(str(tmp_path / "odd.png"), picture)
    for folder, more in (("whole", []), ("tiles", ["--tile", "32"])):
        command = ["restore", str(tmp_path / "odd.png"), "-o", str(tmp_path / folder)]
        weights = ["--model", str(whole / "models" / "net_g_latest.pth")]
        result = CliRunner().invoke(app, [*command, *weights, *more])
        assert result.exit_code == 0, result.output
        (restored,) = (tmp_path / folder).glob("*.png")
        image = cv2.imread(str(restored))
        assert image.shape == (59, 71, 3)
        assert len(np.unique(image)) > 1
