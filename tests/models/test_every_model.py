"""What every registered training method must do, whatever it learns."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from model_configs import MODELS

from uir.config.options import OptionError, load_options
from uir.core.checkpoint import read_file
from uir.engine.testing import test as run_test
from uir.engine.train_loop import train
from uir.registry import MODEL_REGISTRY

Write = Callable[..., Path]
OWN = [name for name, cls in MODEL_REGISTRY if cls.__module__.startswith("uir.")]
METRICS = {"psnr": {"type": "calculate_psnr", "crop_border": 0}}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small are slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=OWN)
def options(request: pytest.FixtureRequest, pair_folders: Path) -> dict[str, Any]:
    """Two steps of a training method, each of them saved, without validation."""
    if request.param not in MODELS:
        pytest.fail(f"{request.param} has no small configuration; add one to tests/model_configs.py")
    always = {"model_type": request.param, "logger.save_checkpoint_freq": 1, "train.total_iter": 2}
    return {**MODELS[request.param](pair_folders), **always}


def without_validation(options: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in options.items() if not key.startswith("val.")}
    return {**kept, "val": None, "datasets.val": None}


def networks(run: Path, tag: int | str) -> dict[str, dict[str, Any]]:
    """What a run saved of each network, by its role."""
    files = sorted((run / "models").glob(f"net_*_{tag}.pth"))
    return {file.stem.split("_")[1]: read_file(file) for file in files}


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The tensors in which two sets of networks differ."""
    assert one.keys() == other.keys()
    return [
        f"{role}.{kind}.{key}"
        for role, content in one.items()
        for kind in ("params", "params_ema")
        for key, value in content.get(kind, {}).items()
        if not torch.equal(value, other[role][kind][key])
    ]


def odd_pairs(folder: Path, pair_folders: Path) -> Path:
    """Pictures of odd sides: lq 21×29, gt 43×59, which is cut to twice that at scale 2."""
    picture = cv2.imread(str(pair_folders / "gt" / "0.png"))[:43, :59]
    for name, image in (("gt", picture), ("lq", cv2.resize(picture, (29, 21), interpolation=cv2.INTER_AREA))):
        (folder / name).mkdir(parents=True)
        cv2.imwrite(str(folder / name / "0.png"), image)
    return folder


def rooted(section: Any, pairs: Path, odd: Path) -> Any:
    """A section whose folders are those with odd pictures."""
    if isinstance(section, dict):
        return {key: rooted(value, pairs, odd) for key, value in section.items()}
    return section.replace(str(pairs), str(odd)) if isinstance(section, str) else section


@pytest.mark.thorough
def test_trains_and_a_resumed_run_equals_an_uninterrupted_one(write_options: Write, options: dict[str, Any]) -> None:
    file = write_options(without_validation(options))
    whole = train(load_options(file, force=["name=whole"]))
    assert differing(networks(whole, 1), networks(whole, 2)), "the second step changed nothing"
    assert differing(networks(whole, 2), networks(whole, "latest")) == []
    train(load_options(file, force=["name=parts", "train:total_iter=1"]))
    parts = train(load_options(file, force=["name=parts"]), auto_resume=True)
    assert differing(networks(whole, 2), networks(parts, 2)) == []


@pytest.mark.thorough
def test_what_it_saved_restores_an_odd_sized_image(
    write_options: Write, options: dict[str, Any], pair_folders: Path, tmp_path: Path
) -> None:
    run = train(load_options(write_options(without_validation({**options, "train.total_iter": 1}))))
    weights = {f"path.pretrain_network_{role}": str(run / "models" / f"net_{role}_1.pth") for role in networks(run, 1)}
    odd = odd_pairs(tmp_path / "odd", pair_folders)
    default = {"type": "PairedImageDataset", "dataroot_gt": str(odd / "gt"), "dataroot_lq": str(odd / "lq")}
    data = rooted(options.get("datasets", {"val": default})["val"], pair_folders, odd)
    kept = {key: value for key, value in options.items() if not key.startswith(("val", "datasets"))}
    tested = {**kept, **weights, "datasets": {"test": data}, "val": {"metrics": METRICS}}
    (found,) = run_test(load_options(write_options(tested, "test.yml"), is_train=False), quiet=True)
    assert math.isfinite(found.results["psnr"])


def test_every_configured_method_is_registered() -> None:
    assert sorted(MODELS) == OWN


@pytest.mark.thorough
def test_any_further_loss_is_learned_from_or_refused(options: dict[str, Any], write_options: Write) -> None:
    """`<name>_opt` is a loss under every method, but for the one that restores nothing."""
    edge = {"train.edge_opt": {"type": "MSELoss"}, "train.total_iter": 1, "logger.print_freq": 1}
    file = write_options({**without_validation(options), **edge})
    if options["model_type"] == "DCModel":
        with pytest.raises(OptionError, match=r"train\.edge_opt is not an option"):
            load_options(file)
        return
    rows = (train(load_options(file)) / "metrics.jsonl").read_text().splitlines()
    row = json.loads(rows[0])
    assert row.get("l_edge", row.get("l_g_edge")) > 0
