"""The training loop from option file to files on disk."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from uir.compat import basicsr_names
from uir.config.options import Stage, load_options
from uir.core.checkpoint import read_file, read_weights
from uir.data.building import training_stream
from uir.engine.describing import describe_training
from uir.engine.train_loop import train

Write = Callable[..., Path]


def run(file: Path, *force: str, auto_resume: bool = False) -> Path:
    return train(load_options(file, force=force), auto_resume=auto_resume)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [row["l_pix"] for row in rows(folder) if "l_pix" in row]


def test_a_run_leaves_weights_states_metrics_and_its_own_description(write_options: Write) -> None:
    folder = run(write_options())
    assert sorted(p.name for p in (folder / "models").iterdir()) == ["net_g_3.pth", "net_g_6.pth", "net_g_latest.pth"]
    assert sorted(p.name for p in (folder / "training_states").iterdir()) == ["3.state", "6.state"]
    assert [row["iter"] for row in rows(folder) if "metrics" in row] == [3, 6]
    assert len(losses(folder)) == 6
    described = json.loads((folder / "run.json").read_text())
    assert (described["seed"], described["device"]["type"]) == (5, "cpu")
    assert yaml.safe_load((folder / "options.yml").read_text())["train"]["total_iter"] == 6


def test_the_log_line_is_basicsr_s(write_options: Write) -> None:
    folder = run(write_options())
    log = next(folder.glob("train_small_*.log")).read_text()
    assert "[small..][epoch:  0, iter:       1, lr:(1.000e-03,)] [eta: " in log
    assert "l_pix: " in log
    assert "Validation val\n\t # psnr: " in log


@pytest.mark.thorough
def test_the_same_seed_gives_the_same_run_whatever_the_workers(write_options: Write) -> None:
    alone = losses(run(write_options()))
    helped = losses(run(write_options({"datasets.train.num_worker_per_gpu": 2, "name": "helped"})))
    other = losses(run(write_options({"manual_seed": 6, "name": "other"})))
    assert alone == helped
    assert alone != other


@pytest.mark.thorough
def test_a_resumed_run_equals_an_uninterrupted_one(write_options: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_options({"train.ema_decay": 0.9, "train.warmup_iter": 5})
    whole = run(file, "name=whole")
    run(file, "train:total_iter=3", "name=parts")
    monkeypatch.chdir("/")  # a run is found from anywhere
    parts = run(file, "name=parts", auto_resume=True)
    for name in ("params", "params_ema"):
        one, other = (read_file(f / "models" / "net_g_6.pth")[name] for f in (whole, parts))
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert losses(whole) == losses(parts)


def test_resuming_keeps_the_seed_that_was_drawn(write_options: Write) -> None:
    file = write_options({"manual_seed": None})
    folder = run(file, "train:total_iter=3")
    seed = json.loads((folder / "run.json").read_text())["seed"]
    run(file, auto_resume=True)
    assert json.loads((folder / "run.json").read_text())["seed"] == seed


def test_auto_resume_without_a_run_starts_one(write_options: Write) -> None:
    assert len(losses(run(write_options(), auto_resume=True))) == 6


@pytest.mark.thorough
def test_an_earlier_run_is_kept(write_options: Write) -> None:
    file = write_options()
    folder = run(file)
    before = read_weights(folder / "models" / "net_g_latest.pth")[0]
    run(file, "manual_seed=9")
    kept = next(folder.parent.glob("small_archived_*"))
    after = read_weights(kept / "models" / "net_g_latest.pth")[0]
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_dataset_smaller_than_a_batch_is_an_error_and_touches_no_earlier_run(write_options: Write) -> None:
    file = write_options()
    folder = run(file)
    with pytest.raises(ValueError, match=r"datasets\.train: .*fewer than batch size 100"):
        run(file, "datasets:train:batch_size_per_gpu=100")
    assert (folder / "models" / "net_g_latest.pth").exists()
    assert not list(folder.parent.glob("small_archived_*"))


def test_an_unreadable_image_is_named_at_the_end_of_the_epoch(
    write_options: Write, pair_folders: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import shutil

    copy = tmp_path / "pairs"
    shutil.copytree(pair_folders, copy)
    (copy / "lq" / "4.png").write_bytes(b"not an image")
    roots = {f"datasets.train.dataroot_{kind}": str(copy / kind) for kind in ("gt", "lq")}
    folder = run(write_options({**roots, "datasets.val": None, "val": None}))
    log = next(folder.glob("train_small_*.log")).read_text()
    assert "1 unreadable files were replaced" in log
    assert "4.png" in log


def test_every_epoch_augments_anew(write_options: Write) -> None:
    from uir.data.building import training_loader

    loader, sampler = training_loader(load_options(write_options({"datasets.train.use_shuffle": False})))
    batches = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        batches.append(next(iter(loader))["gt"])
    assert not torch.equal(*batches)


def test_accumulating_uses_as_many_batches(write_options: Write) -> None:
    folder = run(write_options({"train.accumulate": 3, "datasets.train.batch_size_per_gpu": 1}))
    state = read_file(folder / "training_states" / "6.state")
    assert state["uir"]["stream"]["epoch"] * 6 + state["uir"]["stream"]["batch"] == 18


def test_pictures_go_where_basicsr_puts_them(write_options: Write) -> None:
    folder = run(write_options({"val.save_img": True}))
    assert (folder / "visualization" / "0" / "0_3.png").exists()


def test_keys_of_a_plugin_that_nobody_checks_are_logged(write_options: Write, caplog: pytest.LogCaptureFixture) -> None:
    loaded = load_options(write_options({"datasets.val": None, "val": None}))
    with caplog.at_level("INFO", logger="uir"):
        describe_training(Stage("", replace(loaded, unchecked=("my_key",))), training_stream(loaded), {})
    assert "Option my_key is not checked: its plugin does not declare its keys (option_keys)" in caplog.text


def test_protocols_of_a_training_are_said_to_do_nothing(write_options: Write, caplog: pytest.LogCaptureFixture) -> None:
    loaded = load_options(write_options({"val.protocols": ["dcpt"]}))
    describe_training(Stage("", loaded), training_stream(loaded), {})
    assert "val.protocols has no effect in a training, which measures val.metrics; uir test reads it" in caplog.text


def test_the_share_of_each_task_is_logged(write_options: Write, pair_folders: Path) -> None:
    clean = {"type": "DegradedImageDataset", "dataroot_gt": str(pair_folders / "gt")}
    tasks = {
        "noise": {**clean, "degradation": {"type": "GaussianNoise"}},
        "haze": {**clean, "degradation": {"type": "Haze"}},
    }
    data = {"type": "MultiTaskDataset", "tasks": tasks, "sampling": "uniform", "gt_size": 32, "batch_size_per_gpu": 2}
    changes = {"scale": 1, "network_g.scale": 1, "datasets": {"train": data}, "val": None}
    folder = run(write_options(changes))
    log = next(folder.glob("train_small_*.log")).read_text()
    assert "Share of each task: noise 50.0%, haze 50.0%" in log
    assert read_weights(folder / "models" / "net_g_latest.pth")[1]["labels"] == ["noise", "haze"]


@pytest.mark.thorough
@pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed")
def test_a_dataset_of_basicsr_s_serves_uir_s_model(write_options: Write) -> None:
    """Its random draws are seeded sample by sample, so the workers do not matter here either."""
    changes = {"datasets.train.type": "basicsr:PairedImageDataset", "datasets.val.type": "basicsr:PairedImageDataset"}
    alone = losses(run(write_options(changes)))
    helped = losses(run(write_options({**changes, "datasets.train.num_worker_per_gpu": 2, "name": "helped"})))
    assert len(alone) == 6
    assert alone == helped


@pytest.mark.thorough
def test_tensorboard_events_are_written(write_options: Write) -> None:
    pytest.importorskip("tensorboard")
    folder = run(write_options({"logger.use_tb_logger": True}))
    assert list((folder.parents[1] / "tb_logger" / "small").iterdir())


def test_the_epoch_s_end_is_quiet_when_all_was_read(write_options: Write) -> None:
    folder = run(write_options())
    assert "unreadable" not in next(folder.glob("train_small_*.log")).read_text()
    assert logging.getLogger("uir").handlers


@pytest.mark.parametrize(
    ("tensorboard", "message"), [(False, "needs logger.use_tb_logger"), (True, "pip install wandb")]
)
def test_wandb_is_optional_and_says_what_it_lacks(
    write_options: Write, monkeypatch: pytest.MonkeyPatch, tensorboard: bool, message: str
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    changes = {"logger.wandb": {"project": "x"}, "logger.use_tb_logger": tensorboard}
    with pytest.raises(ValueError, match=message):
        run(write_options(changes))


def test_wandb_copies_the_events_of_tensorboard(write_options: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **given: calls.append(given)))
    wandb = {"project": "x", "resume_id": "abc"}
    run(write_options({"logger.wandb": wandb, "logger.use_tb_logger": True, "train.total_iter": 1, "val": None}))
    assert calls == [{"project": "x", "name": "small", "id": "abc", "resume": "allow", "sync_tensorboard": True}]


def test_several_validation_sets_go_by_their_names(write_options: Write, pair_folders: Path) -> None:
    roots = {f"dataroot_{kind}": str(pair_folders / kind) for kind in ("gt", "lq")}
    folder = run(write_options({"datasets.val_2": {"type": "PairedImageDataset", **roots, "name": "Second"}}))
    assert [row["dataset"] for row in rows(folder) if "metrics" in row] == ["val", "Second"] * 2


@pytest.mark.thorough
def test_progressive_training_and_mixup_go_on_exactly_after_a_stop(write_options: Write) -> None:
    parts = {"iters": [2, 4], "gt_sizes": [16, 32], "mini_batch_sizes": [2, 1], "mixup": {"beta": 1.2}}
    changes = {f"datasets.train.{key}": value for key, value in parts.items()}
    file = write_options(changes | {"logger.save_checkpoint_freq": 3})
    whole = losses(run(file))
    with_stop = load_options(file, force=["name=parts", "train:total_iter=3"])
    train(with_stop)
    again = train(load_options(file, force=["name=parts"]), auto_resume=True)
    assert losses(again) == whole
    assert whole != losses(run(write_options()))
