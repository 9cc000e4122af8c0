"""Methods in a user's file, unknown to uir: they are trained, resumed exactly, tested, and used on a photograph."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from uir.cli import run
from uir.config.options import load_options
from uir.core.checkpoint import read_file
from uir.engine.testing import test as run_test
from uir.engine.train_loop import train

pytestmark = pytest.mark.thorough

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
LAST, MIDDLE = 6, 3
PHOTOGRAPH = next((PROJECT / "datasets/demo/test").rglob("*.png"))


def options(folder: Path, plugin: str, name: str, *force: str, is_train: bool = True) -> Any:
    """The option file of a plug-in, for a separate run in a folder."""
    place = f"path:{'experiments' if is_train else 'results'}_root={folder / name}"
    return load_options(HERE / f"{plugin}.yml", is_train=is_train, force=[f"name={name}", place, *force], root=PROJECT)


LOGGED = {
    "gan": {"l_pix", "l_g", "l_g_patch", "l_d", "l_d_patch"},
    "diffusion": {"l_noise"},
    "prompt": {"l_pix"},
    "reference": {"l_pix"},
    "experts": {"l_pix", "l_severity"},
    "unpaired": {"l_pix", "l_fool", "l_critic"},
    "frechet": {"l_pix"},
    "clip": {"l_pix"},
}
"""The plug-ins, and the losses that each of them logs."""
ONLY_TRAINED = {"gan": ["network_d=~", "network_p=~"], "unpaired": ["network_d=~"]}
"""Networks that a test does not use."""
SET = {"diffusion": ["steps=4"], "prompt": ["prompt=remove the noise"], "reference": [f"reference={PHOTOGRAPH}"]}
"""The controls that a user must or may set."""


@pytest.fixture(scope="module", params=LOGGED)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A plug-in, and the folder of a complete run of it."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    return request.param, train(options(folder, request.param, "whole"))


def networks(folder: Path, iteration: int) -> dict[str, Any]:
    return {file.name: read_file(file) for file in sorted((folder / "models").glob(f"net_*_{iteration}.pth"))}


def test_it_trains_every_network(trained: tuple[str, Path]) -> None:
    _, folder = trained
    before, after = networks(folder, MIDDLE), networks(folder, LAST)
    assert before
    for name, groups in after.items():
        old = before[name.replace(str(LAST), str(MIDDLE))]["params"]
        assert all(value.isfinite().all() for value in groups["params"].values())
        assert any(not torch.equal(value, old[key]) for key, value in groups["params"].items()), name


def test_it_goes_on_exactly(trained: tuple[str, Path], tmp_path: Path) -> None:
    plugin, folder = trained
    parts = tmp_path / "parts"
    shutil.copytree(folder, parts)
    for file in [*parts.glob(f"models/net_*_{LAST}.pth"), *parts.glob(f"training_states/{LAST}.state")]:
        file.unlink()
    train(options(tmp_path, plugin, "parts"), auto_resume=True)
    for name, groups in networks(folder, LAST).items():
        again = read_file(parts / "models" / name)
        for kind in {"params", "params_ema"} & set(groups):
            torch.testing.assert_close(again[kind], groups[kind], rtol=0, atol=0)


def test_it_is_tested_without_what_only_training_needs(trained: tuple[str, Path], tmp_path: Path) -> None:
    plugin, folder = trained
    roles = [file.name.split("_")[1] for file in (folder / "models").glob("net_*_latest.pth")]
    restoring = [role for role in roles if role in "ge"]
    weights = [f"path:pretrain_network_{role}={folder / 'models' / f'net_{role}_latest.pth'}" for role in restoring]
    averages = [f"path:param_key_{role}=params_ema" for role in restoring]
    loaded = options(tmp_path, plugin, "tested", *weights, *averages, *ONLY_TRAINED.get(plugin, []), is_train=False)
    evaluations = run_test(loaded, quiet=True)
    validated = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    last = next(row for row in reversed(validated) if "metrics" in row)
    assert evaluations[0].results == pytest.approx(last["metrics"], abs=1e-9)


def test_it_restores_a_photograph_of_odd_size(trained: tuple[str, Path], tmp_path: Path) -> None:
    plugin, folder = trained
    image = np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "odd.png"), image)
    restored = restore(plugin, folder, tmp_path, "out.png")
    assert restored.shape == image.shape
    assert (restored != image).any()
    tiled = restore(plugin, folder, tmp_path, "tiled.png", "--tile", "32")
    assert tiled.shape == image.shape


def restore(plugin: str, folder: Path, place: Path, name: str, *arguments: str) -> Any:
    """`uir restore` of `odd.png`, with the controls of the plug-in."""
    chosen = [word for setting in SET.get(plugin, []) for word in ("--set", setting)]
    run(["restore", str(place / "odd.png"), "-o", str(place / name), "--model",
         str(folder / "models" / "net_g_latest.pth"), "--plugin", str(HERE / f"{plugin}.py"),
         "--device", "cpu", *chosen, *arguments])  # fmt: skip
    return cv2.imread(str(place / name))


def test_the_log_names_every_loss(trained: tuple[str, Path]) -> None:
    plugin, folder = trained
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    logged = {key for row in rows for key in row if key.startswith("l_")}
    assert logged == LOGGED[plugin]
