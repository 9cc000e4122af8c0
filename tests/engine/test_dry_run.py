from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from uir.cli import main
from uir.config.options import load_options
from uir.engine.dry_run import dry_run, peak_memory
from uir.engine.train_loop import train

Write = Callable[..., Path]


def test_everything_is_told_and_nothing_is_written(write_options: Write, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_options()
    described = dry_run(load_options(file), as_json=True)[0]
    assert json.loads(capsys.readouterr().out)[0] == described
    network = described["networks"]["network_g"]
    assert network["parameters"] == 3 * 6 * 9 + 6 + 12 + 6 * 12 * 9 + 12
    assert network["macs"] == (3 * 6 + 6 * 12) * 9 * 16 * 16
    assert set(described["losses"]) == {"l_pix"}
    assert described["training"]["images_per_epoch"] == 6
    assert described["training"]["epochs"] == 2
    assert described["validation"] == {"val": 6}
    assert "experiments/small/models" in described["writes"]["networks"]
    assert described["peak_memory_mib"] > 0
    assert not (file.parents[1] / "experiments").exists()


def test_pictures_and_events_are_among_what_would_be_written(write_options: Write) -> None:
    loaded = load_options(write_options({"val.save_img": True, "logger.use_tb_logger": True}))
    writes = dry_run(loaded, as_json=True)[0]["writes"]
    assert writes["pictures"] == str(loaded.run_dir / "visualization")
    assert writes["TensorBoard events"] == str(loaded.root / "tb_logger" / "small")
    plain = load_options(write_options({"val.save_img": False}), force=["name=plain"])
    assert set(dry_run(plain, as_json=True)[0]["writes"]) == {"networks", "states", "log and numbers"}


def test_an_earlier_run_is_mentioned_and_left_alone(write_options: Write) -> None:
    file = write_options()
    folder = file.parents[1] / "experiments" / "small"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"versions": {"uir": "0.1.0"}}')
    assert "archived" in dry_run(load_options(file), as_json=True)[0]["writes"]["an earlier run"]
    assert [p.name for p in folder.iterdir()] == ["run.json"]


@pytest.mark.parametrize("kind", ["somebody's folder", "a file", "weights that are missing", "a state that is missing"])
def test_what_a_real_start_is_refused_for_is_told(write_options: Write, kind: str) -> None:
    path = {"weights": "path.pretrain_network_g", "a state": "path.resume_state"}
    changes = {key: "nowhere.pth" for word, key in path.items() if kind.startswith(word)}
    loaded = load_options(write_options(changes))
    if kind == "a file":
        loaded.run_dir.parent.mkdir(parents=True)
        loaded.run_dir.write_text("mine")
    elif kind == "somebody's folder":
        loaded.run_dir.mkdir(parents=True)
        (loaded.run_dir / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds no run\.json|is a file|there is no file|there is no such file") as dry:
        dry_run(loaded)
    with pytest.raises(ValueError, match=re.escape(str(dry.value))):
        train(loaded)


def test_shares_of_tasks_and_every_stage_are_told(write_options: Write, pair_folders: Path) -> None:
    clean = {"type": "DegradedImageDataset", "dataroot_gt": str(pair_folders / "gt")}
    tasks = {
        "noise": {**clean, "degradation": {"type": "GaussianNoise"}},
        "haze": {**clean, "degradation": {"type": "Haze"}},
    }
    data = {"type": "MultiTaskDataset", "tasks": tasks, "gt_size": 32, "batch_size_per_gpu": 2}
    stages = [{"name": "a", "iterations": 3}, {"name": "b", "iterations": 4}]
    changes = {"scale": 1, "network_g.scale": 1, "datasets": {"train": data}, "val": None}
    changes |= {"train.stages": stages, "train.total_iter": None}
    found = dry_run(load_options(write_options(changes)), as_json=True)
    assert [item["stage"] for item in found] == ["a", "b"]
    assert found[0]["training"]["shares"] == {"noise": 0.5, "haze": 0.5}


def test_the_command_prints_a_table(write_options: Write, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "-opt", str(write_options()), "--dry_run"])
    assert not stop.value.code
    out = capsys.readouterr().out
    assert "PixelShuffleSR" in out
    assert "would write" in out


def test_memory_is_in_mebibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**20)
    assert peak_memory(torch.device("cuda")) == 3
    assert 50 < peak_memory(torch.device("cpu")) < 50_000  # torch alone takes more than 50
