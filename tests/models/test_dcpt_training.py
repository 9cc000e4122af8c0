"""The methods that classify, trained from option files: stages, resuming, plugins, two processes."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from dcpt_options import LABELS, METHODS, NETWORK, changes
from small_options import sr_options

from uir.config.options import OptionError, load_options
from uir.core.checkpoint import read_file
from uir.engine.testing import test as run_test
from uir.engine.train_loop import train

pytestmark = pytest.mark.thorough

Write = Callable[..., Path]

# One of each method; what a stage's method does not take is deleted in it (`~`).
EVERY_METHOD: list[dict[str, Any]] = [
    {"name": "pretrain", "iterations": 2},
    {"name": "masked", "iterations": 2, "model_type": "MaskDCPTModel"},
    {"name": "together", "iterations": 2, "model_type": "DCTModel"},
    {"name": "probe", "iterations": 2, "model_type": "DCModel", "train": ["network_dc"], "losses": ["classify_opt"]},
    {"name": "guided", "iterations": 2, "model_type": "DCDistModel", "train": ["network_g"]},
    {
        "name": "finetune", "iterations": 2, "model_type": "SRModel", "network_dc": None, "optim_dc": None,
        "train": ["network_g"], "losses": ["pixel_opt"], "optim_g": {"lr": 1e-4},
    },
]  # fmt: skip

# The restorer stays as it was drawn.
CONTROL: dict[str, Any] = {
    "name": "control", "iterations": 2, "model_type": "DCModel", "train": ["network_dc"], "losses": ["classify_opt"],
    "path": {"pretrain_network_g": None},
}  # fmt: skip


def staged(pairs: Path, stages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    found = {"train.total_iter": None, "train.stages": stages, "train.ema_decay": 0.9, "logger.print_freq": 1, **more}
    return changes(pairs, "DCPTModel", **found)


def rows(folder: Path, key: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in lines if key in row]


def files(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.name: read_file(path) for path in sorted((folder / "models").iterdir())}


def assert_equal(one: Path, other: Path, atol: float = 0.0) -> None:
    """All networks and averages, by file."""
    mine, theirs = files(one), files(other)
    assert mine.keys() == theirs.keys()
    for name, content in mine.items():
        assert content["card"]["labels"] == theirs[name]["card"]["labels"]
        for kind in ("params", "params_ema"):
            for key, value in content.get(kind, {}).items():
                torch.testing.assert_close(
                    value, theirs[name][kind][key], atol=atol, rtol=0, msg=f"{name} {kind} {key}"
                )


def test_pretraining_and_fine_tuning_run_from_one_file(write_options: Write, pair_folders: Path) -> None:
    stages = [
        {"name": "pretrain", "iterations": 4, "losses": ["pixel_opt", "classify_opt"]},
        EVERY_METHOD[-1] | {"iterations": 3},
    ]
    more = {"val.val_freq": 4, "logger.save_checkpoint_freq": 100}
    folder = train(load_options(write_options(staged(pair_folders, stages, **more))))
    assert [set(row) - {"iter", "epoch", "lr"} for row in rows(folder, "l_pix")] == [{"l_pix", "l_classify"}] * 4 + [
        {"l_pix"}
    ] * 3
    measured = rows(folder, "metrics")
    assert [set(row["metrics"]) for row in measured] == [{"psnr", "top1"}, {"psnr"}]
    assert 0 <= measured[0]["metrics"]["top1"] <= 1
    assert {"net_g_4.pth", "net_dc_4.pth", "net_g_7.pth", "net_g_latest.pth"} == set(files(folder))
    head = files(folder)["net_dc_4.pth"]
    assert head["card"]["labels"] == sorted(LABELS)
    assert set(head) == {"params", "params_ema", "card"}


def cut_off(folder: Path, iteration: int) -> Path:
    """Leave a run as if it had ended behind an iteration's state; a copy of what it was."""
    whole = folder.with_name("whole")
    shutil.copytree(folder, whole)
    for state in (folder / "training_states").glob("*.state"):
        if int(state.stem) > iteration:
            state.unlink()
    return whole


@pytest.mark.parametrize("model_type", METHODS)
def test_a_resumed_run_equals_an_uninterrupted_one(write_options: Write, pair_folders: Path, model_type: str) -> None:
    more = {"train.ema_decay": 0.9, "train.total_iter": 4, "logger.save_checkpoint_freq": 2, "val": None}
    file = write_options(changes(pair_folders, model_type, **more))
    whole = train(load_options(file, force=["name=whole"]))
    train(load_options(file, force=["name=parts", "train:total_iter=2"]))
    parts = train(load_options(file, force=["name=parts"]), auto_resume=True)
    assert rows(whole, "l_classify") == rows(parts, "l_classify")
    assert len(rows(whole, "l_classify")) == 4
    assert_equal(whole, parts)


@pytest.mark.parametrize("stage", EVERY_METHOD[:5], ids=lambda stage: stage["name"])
def test_a_run_that_is_resumed_within_a_stage_equals_an_uninterrupted_one(
    write_options: Write, pair_folders: Path, stage: dict[str, Any]
) -> None:
    more = {"val": None, "datasets.val": None, "logger.save_checkpoint_freq": 1}
    file = write_options(staged(pair_folders, [{"name": "start", "iterations": 2}, stage], **more))
    folder = train(load_options(file))
    whole = cut_off(folder, 3)
    train(load_options(file), auto_resume=True)
    assert [row["iter"] for row in rows(whole, "l_classify")] == [1, 2, 3, 4]
    assert rows(whole, "l_classify") == rows(folder, "l_classify")
    assert_equal(whole, folder)


def test_a_masked_stage_equals_a_run_of_its_own(write_options: Write, pair_folders: Path) -> None:
    more = {"val": None, "datasets.val": None, "logger.save_checkpoint_freq": 100}
    whole = train(load_options(write_options(staged(pair_folders, EVERY_METHOD[:2], **more, name="whole"))))
    start = {f"path.pretrain_network_{role}": str(whole / "models" / f"net_{role}_2.pth") for role in ("g", "dc")}
    own = {"train.total_iter": 2, "train.ema_decay": 0.9, "name": "own", **more, **start}
    alone = train(load_options(write_options(changes(pair_folders, "MaskDCPTModel", **own))))
    assert [row["l_pix"] for row in rows(whole, "l_pix")[2:]] == [row["l_pix"] for row in rows(alone, "l_pix")]
    for role in ("g", "dc"):
        mine, theirs = (files(folder)[f"net_{role}_latest.pth"] for folder in (whole, alone))
        for kind in ("params", "params_ema"):
            torch.testing.assert_close(mine[kind], theirs[kind], atol=0, rtol=0)


def test_a_guided_stage_of_one_task_is_resumed_with_the_classes_of_its_guide(
    write_options: Write, pair_folders: Path
) -> None:
    narrowed = {"train": {"tasks": {"blur": None, "haze": None}}}
    guided = {**EVERY_METHOD[4], "iterations": 4, "datasets": narrowed}
    more = {"val": None, "datasets.val": None, "logger.save_checkpoint_freq": 100}
    file = write_options(staged(pair_folders, [EVERY_METHOD[0], guided], **more))
    whole = train(load_options(file, force=["name=whole"]))
    train(load_options(file, force=["name=parts", "train:stages:1:iterations=2"]))
    parts = train(load_options(file, force=["name=parts"]), auto_resume=True)
    assert rows(whole, "l_classify") == rows(parts, "l_classify")
    mine, theirs = (files(folder)["net_dc_latest.pth"] for folder in (whole, parts))
    assert mine["card"]["labels"] == theirs["card"]["labels"] == sorted(LABELS)
    mine, theirs = (files(folder)["net_g_latest.pth"] for folder in (whole, parts))
    torch.testing.assert_close(mine["params"], theirs["params"], atol=0, rtol=0)
    torch.testing.assert_close(mine["params_ema"], theirs["params_ema"], atol=0, rtol=0)


def test_a_run_is_not_resumed_with_other_classes(write_options: Write, pair_folders: Path) -> None:
    options = changes(pair_folders, "DCPTModel", **{"train.total_iter": 3, "val": None})
    file = write_options(options)
    train(load_options(file))
    tasks = options["datasets"]["train"]["tasks"]
    tasks["snow"] = tasks.pop("haze")
    with pytest.raises(
        ValueError, match="the run classified blur, haze, noise, but the labels are now blur, noise, snow"
    ):
        train(load_options(write_options(options)), auto_resume=True)


def test_what_was_trained_is_tested_by_its_card(write_options: Write, pair_folders: Path) -> None:
    options = changes(pair_folders, "DCPTModel", **{"train.total_iter": 3})
    folder = train(load_options(write_options(options)))
    weights = {f"path.pretrain_network_{role}": str(folder / "models" / f"net_{role}_3.pth") for role in ("g", "dc")}
    found = run_test(load_options(write_options({**options, **weights}, "test.yml"), is_train=False), quiet=True)
    assert found[0].results == pytest.approx(rows(folder, "metrics")[0]["metrics"])


MY_TOKENS = """
from torch import nn
from uir.layers.features import FeaturePoint
from uir.registry import ARCH_REGISTRY

@ARCH_REGISTRY.register()
class MyTokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.inward, self.outward = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)
        self.mix = nn.Linear(6, 6)

    def feature_points(self):
        return [FeaturePoint('mix', 6, 1, 'tokens')]

    def encoder_blocks(self):
        return ['inward']

    def forward(self, lq):
        tokens = self.mix(self.inward(lq).flatten(2).transpose(1, 2))
        return lq + self.outward(tokens.transpose(1, 2).unflatten(2, lq.shape[-2:]))
"""


def test_a_backbone_of_one_s_own_needs_nothing_but_its_file(write_options: Write, pair_folders: Path) -> None:
    pretrain, masked, together, probe, guided, finetune = EVERY_METHOD
    stages = [pretrain, masked, together, guided, finetune, probe]
    more = {"plugins": ["./my_arch.py"], "network_g": {"type": "MyTokens"}, "logger.save_checkpoint_freq": 100}
    file = write_options(staged(pair_folders, stages, **more, **{"val.val_freq": 2}))
    (file.parent / "my_arch.py").write_text(MY_TOKENS)
    folder = train(load_options(file))
    both, classified = {"l_pix", "l_classify"}, {"l_classify"}
    losses = [set(row) & both for row in rows(folder, "epoch")]
    assert losses == [both] * 8 + [{"l_pix"}] * 2 + [classified] * 2
    assert ["top1" in row["metrics"] for row in rows(folder, "metrics")] == [True] * 4 + [False, True]
    networks = [files(folder)[f"net_g_{stop}.pth"]["params"] for stop in range(2, 13, 2)]
    for before, after in itertools.pairwise(networks[:5]):
        assert all((after[key] != value).any() for key, value in before.items())
    torch.testing.assert_close(networks[5], networks[4], atol=0, rtol=0)  # the probe leaves it as it is
    heads = [files(folder)[f"net_dc_{stop}.pth"] for stop in (8, 12)]
    assert heads[1]["card"]["feature_points"] == [{"name": "mix", "channels": 6, "stride": 1, "layout": "tokens"}]
    assert any((heads[1]["params"][key] != value).any() for key, value in heads[0]["params"].items())


def launch(file: Path, name: str, processes: int, *more: str) -> Path:
    """A run of all methods, four images a step in all processes together."""
    run = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone"] if processes > 1 else []
    launcher = ["--launcher", "pytorch"] if processes > 1 else []
    force = [f"datasets:train:batch_size_per_gpu={4 // processes}", f"name={name}"]
    done = subprocess.run(
        [sys.executable, *run, "-m", "uir", "train", *launcher, "-opt", str(file), *more, "--force_yml", *force],
        capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return file.parents[1] / "experiments" / name


def test_two_processes_do_in_every_method_what_one_does_and_go_on_where_they_stopped(
    tmp_path: Path, pair_folders: Path
) -> None:
    options = sr_options(pair_folders)
    more: dict[str, Any] = {"train.pixel_opt": {"type": "MSELoss"}, "val": None, "datasets.val": None}
    more["logger.save_checkpoint_freq"] = 3
    for optim in ("optim_g", "optim_dc"):  # SGD: Adam makes a whole step of a rounded gradient
        more[f"train.{optim}"] = {"type": "SGD", "lr": 1e-2}
    for dotted, value in staged(pair_folders, [*EVERY_METHOD, CONTROL], **more).items():
        *parents, leaf = dotted.split(".")
        target: Any = options
        for key in parents:
            target = target[key]
        if value is None:
            target.pop(leaf, None)
        else:
            target[leaf] = value
    file = tmp_path / "options" / "run.yml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(options))
    one, two = launch(file, "one", 1), launch(file, "two", 2)
    ends, within = 2 * 6 + 1, 2 * 2  # after every stage, and within `masked` and `guided`
    assert len(files(one)) == ends + within + 2
    assert_equal(one, two, atol=1e-6)
    moved = [files(one)[f"net_g_{stop}.pth"]["params"]["intro.weight"] for stop in (2, 4, 6, 10)]
    assert all((after - before).abs().max() > 1e-4 for before, after in itertools.pairwise(moved))
    assert files(one)["net_g_2.pth"]["card"]["arch"] == NETWORK
    whole = cut_off(two, 3)
    assert_equal(launch(file, "two", 2, "--auto_resume"), whole)


def test_the_best_classifier_may_be_kept(write_options: Write, pair_folders: Path) -> None:
    kept = {"train.total_iter": 3, "val.val_freq": 1, "logger.save_checkpoint_freq": 1, "val.keep_best": "top1"}
    folder = train(load_options(write_options(changes(pair_folders, "DCPTModel", **kept))))
    values = {row["iter"]: row["metrics"]["top1"] for row in rows(folder, "metrics")}
    best = max(values, key=lambda iteration: (values[iteration], -iteration))
    written = files(folder)
    for role in ("g", "dc"):
        expected = written[f"net_{role}_{best}.pth"]["params"]
        for key, value in written[f"net_{role}_best_top1.pth"]["params"].items():
            assert torch.equal(value, expected[key])


@pytest.mark.parametrize(
    ("model_type", "name", "said"),
    [("DCPTModel", "top2", "top2'; did you mean top1"), ("DCPTModel", "psnrr", "psnrr'; did you mean psnr"),
     ("SRModel", "top1", "no metric of val.metrics is called 'top1'")],
)  # fmt: skip
def test_only_what_the_method_measures_may_decide(
    write_options: Write, pair_folders: Path, model_type: str, name: str, said: str
) -> None:
    with pytest.raises(OptionError, match=said):
        load_options(write_options(changes(pair_folders, model_type, **{"val.keep_best": name})))
