"""What is kept of a run: the last checkpoints, the best one; what a signal leaves; what the pool remembers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from uir.config.options import OptionError, load_options
from uir.core.checkpoint import read_file
from uir.engine.checkpoints import Checkpoints
from uir.engine.evaluation import Evaluation
from uir.engine.train_loop import Training, train

Write = Callable[..., Path]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_keep_last_clears_older_checkpoints(write_options: Write) -> None:
    changes = {"logger.keep_last": 2, "logger.save_checkpoint_freq": 1, "val": None, "datasets.val": None}
    folder = train(load_options(write_options(changes)))
    assert names(folder / "training_states") == ["5.state", "6.state"]
    assert names(folder / "models") == ["net_g_5.pth", "net_g_6.pth", "net_g_latest.pth"]


@pytest.mark.thorough
def test_keep_best_keeps_the_networks_of_the_best_metric(write_options: Write) -> None:
    folder = train(load_options(write_options({"val.keep_best": "psnr", "val.val_freq": 1})))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    values = {row["iter"]: row["metrics"]["psnr"] for row in rows if "metrics" in row}
    best = max(values, key=lambda iteration: values[iteration])
    kept = read_file(folder / "models" / "net_g_best_psnr.pth")["params"]
    assert (best in (3, 6)) == (folder / "models" / f"net_g_{best}.pth").exists()
    if best in (3, 6):
        same = read_file(folder / "models" / f"net_g_{best}.pth")["params"]
        assert all(torch.equal(kept[key], same[key]) for key in kept)


def test_keep_best_needs_a_metric_of_the_file(write_options: Write) -> None:
    with pytest.raises(
        OptionError, match=r"val.keep_best: no metric of val.metrics is called 'psnrr'; did you mean psnr"
    ):
        load_options(write_options({"val.keep_best": "psnrr"}))


def everything(folder: Path, iteration: int) -> dict[str, Any]:
    """All that must be equal: weights, average, optimizer, log values and metrics."""
    state = read_file(folder / "training_states" / f"{iteration}.state")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {
        "networks": read_file(folder / "models" / f"net_g_{iteration}.pth"),
        "optimizers": state["optimizers"],
        "schedulers": state["schedulers"],
        "own": {key: state["uir"][key] for key in ("stream", "best", "random", "stage")},
        "rows": rows,
    }


@pytest.mark.thorough
def test_a_validation_that_fails_loses_nothing(write_options: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint of its iteration is there, and the resumed run repeats the validation."""

    def fail(self: Training) -> None:
        raise RuntimeError("it failed")

    file = write_options()
    whole = train(load_options(file, force=["name=whole"]))
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_validate", fail)
        with pytest.raises(RuntimeError, match="it failed"):
            train(load_options(file, force=["name=parts"]))
    parts = train(load_options(file, force=["name=parts"]), auto_resume=True)
    assert names(parts / "training_states") == ["3.state", "6.state"]
    assert everything(parts, 6)["rows"] == everything(whole, 6)["rows"]
    for iteration in (3, 6):
        assert everything(parts, iteration)["own"]["best"] == everything(whole, iteration)["own"]["best"]


def test_a_last_validation_that_fails_leaves_the_last_networks(
    write_options: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Training) -> None:
        raise RuntimeError("it failed")

    monkeypatch.setattr(Training, "_validate", fail)
    file = write_options({"val.val_freq": 6, "logger.save_checkpoint_freq": 100})
    with pytest.raises(RuntimeError, match="it failed"):
        train(load_options(file))
    assert names(file.parents[1] / "experiments" / "small" / "models") == ["net_g_latest.pth"]


def same(one: Any, other: Any, path: str = "") -> None:
    """Assert equality of nested plain data with tensors, naming the first difference."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for index, (first, second) in enumerate(zip(one, other, strict=True)):
            same(first, second, f"{path}.{index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other, f"{path}: {one} != {other}"


def demanding(pair_folders: Path) -> dict[str, Any]:
    """Workers, shuffling, augmentation, degradation on the fly, a pool, accumulation, warm-up, an average, stages."""
    clean = {"type": "DegradedImageDataset", "dataroot_gt": str(pair_folders / "gt")}
    tasks = {
        "noise": {**clean, "degradation": {"type": "GaussianNoise"}},
        "rain": {**clean, "degradation": {"type": "RainStreaks"}},
    }
    return {
        "scale": 1, "network_g.scale": 1,
        "datasets": {
            "train": {
                "type": "MultiTaskDataset", "sampling": "uniform", "tasks": tasks, "gt_size": 24, "use_hflip": True,
                "use_rot": True, "batch_size_per_gpu": 2, "num_worker_per_gpu": 1, "pair_pool": 6,
            },
            "val": {**clean, "degradation": {"type": "GaussianNoise"}},
        },
        "train": {
            "ema_decay": 0.9, "accumulate": 2, "warmup_iter": 4, "pixel_opt": {"type": "L1Loss"},
            "optim_g": {"type": "AdamW", "lr": 1e-3},
            "scheduler": {"type": "CosineAnnealingRestartLR", "periods": [12], "eta_min": 1e-6},
            "stages": [
                {"name": "one", "iterations": 9},
                {"name": "two", "iterations": 11, "optim_g": {"lr": 5e-4}, "carry": ["optim_g"]},
            ],
        },
        "val.val_freq": 4,
        "logger.save_checkpoint_freq": 2,
    }  # fmt: skip


def command(file: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "uir", "train", "-opt", str(file), *more]


def finish(file: Path) -> None:
    """Resume as often as it takes."""
    done = subprocess.run(command(file, "--auto_resume"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.01)


def killed_and_resumed(write_options: Write, changes: dict[str, Any], name: str, after: str, wait: float) -> Path:
    """Start a run, kill -9 it some time after a state appeared, and resume it to its end."""
    file = write_options({**changes, "name": name}, name=f"{name}.yml")
    folder = file.parents[1] / "experiments" / name
    process = subprocess.Popen(command(file), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(folder / "training_states" / f"{after}.state", process)
    time.sleep(wait)
    process.kill()
    process.communicate()
    finish(file)
    return folder


def uninterrupted(write_options: Write, changes: dict[str, Any]) -> Path:
    """The same run at once, in a process of its own too, so that the number of threads is the same."""
    file = write_options({**changes, "name": "whole"}, name="whole.yml")
    finish(file)
    return file.parents[1] / "experiments" / "whole"


@pytest.mark.thorough
def test_a_killed_run_goes_on_as_if_nothing_had_happened(write_options: Write, pair_folders: Path) -> None:
    changes = demanding(pair_folders)
    whole = uninterrupted(write_options, changes)
    parts = killed_and_resumed(write_options, changes, "parts", "6", 0.0)
    same(everything(whole, 20), everything(parts, 20))


@pytest.mark.thorough
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(
    write_options: Write, pair_folders: Path, number: signal.Signals, code: int
) -> None:
    changes = {**demanding(pair_folders), "logger.save_checkpoint_freq": 1000, "name": "stopped"}
    changes["train"]["stages"][0]["iterations"] = 2000
    changes["train"]["scheduler"]["periods"] = [2000]
    file = write_options(changes, name="stopped.yml")
    folder = file.parents[1] / "experiments" / "stopped"
    process = subprocess.Popen(command(file), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(folder / "metrics.jsonl", process)
    os.kill(process.pid, number)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == code, out
    state = next((folder / "training_states").glob("*.state"))
    assert (
        f"Stopped at iteration {state.stem}, which is saved. Continue with: uir train -opt {file} --auto_resume" in out
    )
    assert read_file(state)["iter"] == int(state.stem)


@pytest.mark.thorough
def test_a_signal_to_the_whole_group_leaves_the_workers_to_the_main_process(
    write_options: Write, pair_folders: Path
) -> None:
    """`timeout`, Slurm and torchrun signal every process of the group."""
    changes = {**demanding(pair_folders), "logger.save_checkpoint_freq": 1000, "name": "group"}
    changes["train"]["stages"][0]["iterations"] = 2000
    file = write_options(changes, name="group.yml")
    folder = file.parents[1] / "experiments" / "group"
    process = subprocess.Popen(
        command(file), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    wait_for(folder / "metrics.jsonl", process)
    os.killpg(process.pid, signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 143, out
    assert list((folder / "training_states").glob("*.state"))


def evaluation(**results: float) -> list[Evaluation]:
    return [Evaluation("x", 1, dict(results))]


class Saved:
    """Counts what a model would have written."""

    def __init__(self) -> None:
        self.tags: list[str] = []

    def save(self, models: Path, tag: str) -> None:
        self.tags.append(tag)


def test_a_metric_that_is_not_a_number_never_becomes_the_best(tmp_path: Path) -> None:
    checkpoints, model, best = Checkpoints(tmp_path, keep_best="psnr"), Saved(), dict[str, Any]()
    for iteration, value in enumerate([30.0, float("nan"), 5.0, 31.0]):
        checkpoints.save_best(model, evaluation(psnr=value), best, "higher", iteration)
    assert model.tags == ["best_psnr"] * 2
    assert best["best_checkpoint"]["val"] == 31.0


def test_the_best_of_one_metric_is_not_compared_with_that_of_another(tmp_path: Path) -> None:
    model, best = Saved(), dict[str, Any]()
    Checkpoints(tmp_path, keep_best="psnr").save_best(model, evaluation(psnr=30.0), best, "higher", 1)
    Checkpoints(tmp_path, keep_best="ssim").save_best(model, evaluation(ssim=0.9), best, "higher", 2)
    assert model.tags == ["best_psnr", "best_ssim"]


def test_a_metric_that_no_validation_set_gives_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = Saved()
    with caplog.at_level("WARNING", "uir"):
        Checkpoints(tmp_path, keep_best="top1").save_best(model, evaluation(psnr=30.0), {}, "higher", 1)
    assert "top1 was measured on no validation set" in caplog.text
    assert model.tags == []


@pytest.mark.thorough
def test_going_back_to_an_older_state_forgets_the_newer_ones(write_options: Write) -> None:
    file = write_options({"logger.save_checkpoint_freq": 2})
    folder = train(load_options(file))
    resume = f"path:resume_state={folder / 'training_states' / '2.state'}"
    train(load_options(file, force=[resume, "train:total_iter=3"]))
    assert names(folder / "training_states") == ["2.state"]


@pytest.mark.parametrize("key", ["path:pretrain_network_g=experiments/small/models/net_g_latest.pth", None])
def test_a_run_is_not_put_aside_with_the_files_it_would_start_from(write_options: Write, key: str | None) -> None:
    file = write_options()
    folder = train(load_options(file))
    started = load_options(file, force=[key]) if key else load_options(folder / "options.yml", root=file.parents[1])
    with pytest.raises(ValueError, match="is in the folder of run 'small', which would be renamed"):
        train(started)
    assert (folder / "models" / "net_g_latest.pth").exists()


def test_a_missing_file_of_weights_is_said_before_an_earlier_run_is_put_aside(write_options: Write) -> None:
    file = write_options()
    folder = train(load_options(file))
    with pytest.raises(ValueError, match=r"path.pretrain_network_g: there is no file .*none\.pth"):
        train(load_options(file, force=["path:pretrain_network_g=none.pth"]))
    assert folder.exists()


@pytest.mark.thorough
def test_the_recorded_options_run_again(write_options: Write, tmp_path: Path) -> None:
    folder = train(load_options(write_options()))
    again = load_options(folder / "options.yml", force=["name=again"], root=tmp_path)
    assert (train(again) / "models" / "net_g_latest.pth").exists()
