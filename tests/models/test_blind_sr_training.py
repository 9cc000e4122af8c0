"""Blind super-resolution from option files: stages, resuming in each of them, two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from blind_sr_options import PUBLISHED_STAGES, RANKING, changes, staged

from uir.config.options import load_options
from uir.core.checkpoint import read_file
from uir.engine.testing import test as run_test
from uir.engine.train_loop import train

pytestmark = pytest.mark.thorough

Write = Callable[..., Path]
VAL = {"val_freq": 2, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True}}}


def rows(folder: Path, key: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in lines if key in row]


def content(folder: Path, name: str) -> dict[str, Any]:
    found = read_file(folder / "models" / name)
    found.pop("card")
    return found


def test_encoder_first_then_both(write_options: Write, pair_folders: Path) -> None:
    folder = train(load_options(write_options(staged(pair_folders, val=VAL))))
    logged = [{key for key in row if key.startswith("l_")} for row in rows(folder, "l_contrastive")]
    assert logged == [{"l_contrastive"}] * 2 + [{"l_pix", "l_contrastive"}] * 3
    assert all(row["metrics"]["psnr"] > 0 for row in rows(folder, "metrics"))
    first, last = content(folder, "net_e_2.pth"), content(folder, "net_e_5.pth")
    assert first["momentum"]["pointer"] == 4
    assert last["momentum"]["pointer"] == 10 % 10  # five batches of two: the queue went on through the stages
    assert torch.equal(first["momentum"]["queue"][:4], last["momentum"]["queue"][:4])
    assert not torch.equal(first["params"]["E.0.weight"], last["params"]["E.0.weight"])


def test_stages_equal_separate_files(write_options: Write, pair_folders: Path) -> None:
    stages = [{**PUBLISHED_STAGES[0]}, {"name": "joint", "iterations": 3}]
    whole = train(load_options(write_options(staged(pair_folders, **{"train.stages": stages}))))
    first = {"train.total_iter": 2, "train.pixel_opt": None, "train.optim_g": None, "name": "first"}
    folder = train(load_options(write_options(changes(pair_folders, **first), "first.yml")))
    weights = {f"path.pretrain_network_{role}": str(folder / "models" / f"net_{role}_latest.pth") for role in "eg"}
    second = {"train.total_iter": 3, "name": "second", **weights}
    other = train(load_options(write_options(changes(pair_folders, **second), "second.yml")))
    for role in "eg":
        one, two = content(whole, f"net_{role}_5.pth"), content(other, f"net_{role}_latest.pth")
        torch.testing.assert_close(one, two, atol=0, rtol=0)


MIXED = {"train.accumulate": 2, "precision": "bf16"}


@pytest.mark.parametrize(("stop", "more"), [(1, {}), (4, {}), (4, MIXED)], ids=["stage 1", "stage 2", "mixed"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    write_options: Write, pair_folders: Path, stop: int, more: dict[str, Any]
) -> None:
    """Stopped inside of stage 1, and inside of stage 2; with accumulation in bf16, too."""
    more = {"train.ema_decay": 0.9, "logger.save_checkpoint_freq": 1, **more}
    file = write_options(staged(pair_folders, **more))
    whole = train(load_options(file, force=["name=whole"]))
    parts = train(load_options(file, force=["name=parts"]))
    for state in (parts / "training_states").glob("*.state"):
        if int(state.stem) > stop:
            state.unlink()
    train(load_options(file, force=["name=parts"]), auto_resume=True)
    assert rows(whole, "l_contrastive") == rows(parts, "l_contrastive")
    for role in "eg":
        for name in (f"net_{role}_{stop + 1}.pth", f"net_{role}_5.pth"):
            torch.testing.assert_close(content(whole, name), content(parts, name), atol=0, rtol=0)


def test_a_run_is_not_resumed_with_another_queue(write_options: Write, pair_folders: Path) -> None:
    train(load_options(write_options(changes(pair_folders))))
    other = {"train.momentum_contrast": {"queue_size": 11}, "train.total_iter": 6}
    with pytest.raises(ValueError, match=r"queue_size: 11, but the queue in .* has 10 keys"):
        train(load_options(write_options(changes(pair_folders, **other))), auto_resume=True)


@pytest.mark.parametrize("code", ["own", "zero", "shuffled"])
def test_what_was_trained_is_tested(write_options: Write, pair_folders: Path, code: str) -> None:
    """Steered as it was in training, too."""
    options = staged(pair_folders, val={**VAL, "val_freq": None}, **{"train.code": code})
    folder = train(load_options(write_options(options)))
    weights = {f"path.pretrain_network_{role}": str(folder / "models" / f"net_{role}_latest.pth") for role in "eg"}
    test_file = write_options({**options, **weights}, "test.yml")
    found = run_test(load_options(test_file, is_train=False), quiet=True)
    assert found[0].results == pytest.approx(rows(folder, "metrics")[-1]["metrics"])


def test_daa_trains_by_its_file_alone(write_options: Write, pair_folders: Path) -> None:
    stages = [
        {"name": "ranker", "iterations": 2, "train": ["network_e"], "losses": ["ranking_opt"]},
        {"name": "joint", "iterations": 2, "freeze": ["network_e.ranker_q"]},
    ]
    more: dict[str, Any] = {
        "network_e": {"type": "DAAEncoder", "widths": [4, 6, 8], "ranker_widths": [4]},
        "network_g": {"type": "IMDNAdapted", "nf": 8, "upscale": 2, "reduction": 2},
        "datasets.train": {**RANKING, "dataroot_gt": str(pair_folders / "gt"), "gt_size": 32, "batch_size_per_gpu": 2},
        "train.contrastive_opt": None,
        "train.ranking_opt": {"type": "MarginRankingLoss", "loss_weight": 0.000784314},
    }
    folder = train(load_options(write_options(staged(pair_folders, **{**more, "train.stages": stages}))))
    first, last = (content(folder, f"net_e_{number}.pth")["params"] for number in (2, 4))
    assert torch.equal(first["ranker_q.R.1.weight"], last["ranker_q.R.1.weight"])
    assert not torch.equal(first["encoder_q.E.0.weight"], last["encoder_q.E.0.weight"])


def test_airnet_trains_by_its_file_alone(write_options: Write, pair_folders: Path) -> None:
    task = {"type": "ContrastiveDataset", "dataroot_gt": str(pair_folders / "gt")}
    tasks = {"noise": {**task, "degradation": {"type": "GaussianNoise", "sigma": 25}},
             "haze": {**task, "degradation": {"type": "Haze"}}}  # fmt: skip
    more: dict[str, Any] = {
        "scale": 1,
        "network_e": {"type": "CBDE", "widths": [4, 6, 8]},
        "network_g": {"type": "DGRN", "n_groups": 1, "n_blocks": 1, "n_feats": 4},
        "datasets.train": {"type": "MultiTaskDataset", "tasks": tasks, "gt_size": 16, "batch_size_per_gpu": 2},
        "datasets.val": None,
        "train.contrastive_opt": {"type": "InfoNCELoss", "loss_weight": 0.1},
    }
    folder = train(load_options(write_options(staged(pair_folders, **more))))
    assert content(folder, "net_g_latest.pth")["params"]
    assert len(rows(folder, "l_pix")) == 3


SPY = '''
"""Tells every process's queue and momentum encoder after each step."""
import os
import torch
from uir.core.checkpoint import digest
from uir.models.blind_sr_model import BlindSRModel
was = BlindSRModel.optimize_parameters
def told(self, current_iter):
    was(self, current_iter)
    rank = os.environ.get("RANK", "0")
    parameters = dict(self.contrast.encoder_k.named_parameters())
    queue = digest({"queue": self.contrast.queue, "pointer": self.contrast.pointer})
    os.write(1, f"spy {rank} {current_iter} {int(self.contrast.pointer)} {queue} {digest(parameters)}\\n".encode())
    if current_iter == 1:
        torch.save(self.contrast.queue, os.path.join(os.environ["SPY"], f"queue{rank}.pt"))
        torch.save(self._keys, os.path.join(os.environ["SPY"], f"keys{rank}.pt"))
BlindSRModel.optimize_parameters = told
'''


def told_by_two(file: Path, folder: Path, *more: str) -> dict[str, list[list[str]]]:
    """What the two processes of a training tell, by rank: iteration, pointer, queue, momentum encoder."""
    (file.parent / "spy.py").write_text(SPY)
    command = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m", "uir", "train", "--launcher"]
    done = subprocess.run(
        [sys.executable, *command, "pytorch", "-opt", str(file), *more],
        capture_output=True, text=True, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1", "SPY": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("spy ")]
    return {rank: sorted(row[1:] for row in told if row[0] == rank) for rank in "01"}


def test_two_processes_share_one_queue(write_options: Write, pair_folders: Path, tmp_path: Path) -> None:
    """It holds every process's keys, in the order of ranks; queue and momentum encoder are alike in both."""
    file = write_options(staged(pair_folders, plugins=["./spy.py"], **{"logger.save_checkpoint_freq": 1}))
    by_rank = told_by_two(file, tmp_path)
    assert by_rank["0"] == by_rank["1"]
    assert [row[1] for row in by_rank["0"]] == ["4", "8", "2", "6", "0"]
    assert len({row[3] for row in by_rank["0"]}) > 3  # the momentum encoder moves
    queue, keys = torch.load(tmp_path / "queue0.pt"), [torch.load(tmp_path / f"keys{rank}.pt") for rank in "01"]
    torch.testing.assert_close(queue[:4], torch.nn.functional.normalize(torch.cat(keys), dim=1))
    assert not torch.equal(*keys)
    for state in (file.parents[1] / "experiments").glob("*/training_states/*.state"):
        if int(state.stem) > 3:  # in the midst of the second stage
            state.unlink()
    resumed = told_by_two(file, tmp_path, "--auto_resume")
    assert resumed == {rank: rows[3:] for rank, rows in by_rank.items()}
