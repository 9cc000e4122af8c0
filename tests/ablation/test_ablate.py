"""`uir ablate` from the file to the tables."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from uir.ablation.grid import read_ablation
from uir.ablation.history import read_history
from uir.ablation.pictures import examples_of, write_examples
from uir.ablation.runner import job_environment, train_runs
from uir.ablation.runs import Plan, plan_runs
from uir.ablation.trained import read_trained
from uir.cli import main
from uir.core.locking import locked

pytestmark = pytest.mark.thorough

Write = Callable[..., Path]
JOBS = 2


def call(*arguments: object) -> int:
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def plan_of(file: Path) -> Plan:
    return plan_runs(read_ablation(file), file.parents[1])


def ablate(file: Path) -> tuple[Plan, list[str]]:
    """Train what is not finished; the plan and what was told."""
    told: list[str] = []
    plan = plan_of(file)
    assert train_runs(plan, jobs=JOBS, tell=told.append) == []
    return plan, told


def say_seconds_of_an_iteration(cell: Path, seconds: float) -> None:
    """Write these times into the logs, because those of so short a training depend on what else the machine does."""
    for log in cell.rglob("*.log"):
        log.write_text(re.sub(r"time \(data\): [\d.]+", f"time (data): {seconds}", log.read_text()))


def test_two_cells_with_two_seeds(write_ablation: Write, capfd: pytest.CaptureFixture[str]) -> None:
    file = write_ablation()
    assert call("ablate", file, "--jobs", 2, "--json") == 0
    capfd.readouterr()
    folder = file.parents[1] / "experiments" / "ablation" / "small"
    say_seconds_of_an_iteration(folder / "narrow", 0.1)
    say_seconds_of_an_iteration(folder / "wide", 0.19)
    assert call("ablate", file, "--jobs", 2, "--json") == 0
    printed = json.loads(capfd.readouterr().out)
    assert json.loads((folder / "results.json").read_text()) == printed
    end, equal_time = printed["tables"]
    assert (end["metric"], end["at"], equal_time["at"]) == ("psnr", "end", "equal_time")
    narrow, wide = end["rows"]
    rows = next((folder / "wide" / "seed2" / "train").glob("*/metrics.jsonl")).read_text().splitlines()
    assert wide["values"]["val"]["2"] == json.loads(rows[-1])["metrics"]["psnr"]
    difference = [wide["values"]["val"][seed] - narrow["values"]["val"][seed] for seed in ("1", "2")]
    assert wide["differences"]["val"]["mean"] == pytest.approx(sum(difference) / 2)
    assert narrow["differences"] == {}
    assert {row["iterations"] for row in end["rows"]} == {4}
    assert [row["iterations"] for row in equal_time["rows"]] == [4, 2]
    page = (folder / "results.md").read_text()
    assert "| wide minus narrow | 2 |" in page
    assert "at equal training time" in page
    assert {path.name for path in folder.glob("*.png")} == {"bars_psnr.png", "curves_psnr.png"}
    narrow, wide = (row["cost"] for row in end["rows"])
    assert wide["parameters"] > narrow["parameters"]
    assert 0 < narrow["seconds_per_megapixel"] < 1000
    sheet = cv2.imread(str(folder / "pictures.jpg"))
    assert sheet.shape[1] > 4 * 160, "degraded, two cells, clean"


def test_a_sheet_shows_what_each_cell_makes_of_the_same_photograph(write_ablation: Write) -> None:
    plan, _ = ablate(write_ablation({"seeds": [1]}))
    trained = {run.cell: read_trained(run, plan.root) for run in plan.runs}
    shown = {cell: examples_of(one)["val"] for cell, one in trained.items()}
    assert np.array_equal(shown["narrow"].degraded, shown["wide"].degraded)
    assert not np.array_equal(shown["narrow"].restored, shown["wide"].restored)
    assert np.array_equal(shown["narrow"].clean, shown["wide"].clean)
    others = {"narrow": {"val": shown["narrow"]}, "wide": {"val": replace(shown["wide"], degraded=shown["wide"].clean)}}
    assert write_examples(plan.folder / "x.jpg", others) is None, "cells that saw other photographs share no row"


def test_finished_runs_are_not_repeated_and_changed_ones_are(write_ablation: Write) -> None:
    plan, _ = ablate(write_ablation({"seeds": [1]}))
    weights = [run.output("train") / "models" / "net_g_latest.pth" for run in plan.runs]
    written = [file.stat().st_mtime_ns for file in weights]
    _, told = ablate(write_ablation({"seeds": [1]}))
    assert told == ["finished already: 2 of 2 runs"]
    grid = {"width": {"narrow": None, "wide": {"network_g:width": 10}}}
    plan, told = ablate(write_ablation({"seeds": [1], "grid": grid}))
    assert [file.stat().st_mtime_ns == old for file, old in zip(weights, written, strict=True)] == [True, False]
    assert told[0] == "finished already: 1 of 2 runs"
    assert plan.runs[1].options["train"]["network_g"]["width"] == 10


def test_a_run_equals_its_option_file_trained_by_itself(write_ablation: Write, tmp_path: Path) -> None:
    grid = {"width": {"wide": {"network_g": {"width": 8}}}}
    plan, _ = ablate(write_ablation({"seeds": [1], "grid": grid, "reference": None}))
    run = plan.runs[0]
    command = [sys.executable, "-m", "uir", "train", "-opt", run.option_file("train"), "--root", plan.root]
    force = ["--force_yml", f"path:experiments_root={tmp_path / 'alone'}"]
    subprocess.run([*command, *force], env={**os.environ, **job_environment(0, JOBS)}, capture_output=True, check=True)
    rows = [
        (folder / "metrics.jsonl").read_text()
        for folder in (run.output("train"), tmp_path / "alone" / run.output("train").name)
    ]
    assert rows[0] == rows[1]


def test_an_interrupted_ablation_goes_on_where_it_was(write_ablation: Write) -> None:
    base = {"train.total_iter": 400, "val.val_freq": 400, "logger.save_checkpoint_freq": 1000, "logger.keep_last": 1}
    file = write_ablation({"seeds": [1]}, base)
    plan = plan_of(file)
    numbers = [run.output("train") / "metrics.jsonl" for run in plan.runs]
    process = subprocess.Popen(
        [sys.executable, "-m", "uir", "ablate", str(file), "--jobs", "2"], stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not all(numbers_file.is_file() for numbers_file in numbers) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command continues" in told
    states = [max(int(p.stem) for p in (run.output("train") / "training_states").glob("*.state")) for run in plan.runs]
    assert all(0 < state < 400 for state in states)
    plan, _ = ablate(file)
    for run, state in zip(plan.runs, states, strict=True):
        assert f"iteration {state}" in (run.folder / "log.txt").read_text()
        rows = [json.loads(line) for line in (run.output("train") / "metrics.jsonl").read_text().splitlines()]
        assert [row["iter"] for row in rows if "l_pix" in row] == list(range(1, 401))
        assert max(read_history(run).clock) == 400


def test_a_failing_cell_is_told_and_stops_no_other(write_ablation: Write, capsys: pytest.CaptureFixture[str]) -> None:
    grid = {"width": {"broken": {"path": {"pretrain_network_g": "nowhere.pth"}}, "narrow": None}}
    file = write_ablation({"seeds": [1], "grid": grid})
    assert call("ablate", file) == 1
    printed = capsys.readouterr().out
    assert "FAILED broken seed 1: train failed with exit code 2: uir: path.pretrain_network_g: there is no" in printed
    results = json.loads((file.parents[1] / "experiments" / "ablation" / "small" / "results.json").read_text())
    assert results["unfinished"] == ["broken seed 1"]
    assert [row["cell"] for row in results["tables"][0]["rows"]] == ["narrow"]


def test_a_test_file_measures_the_networks_of_every_cell(
    write_ablation: Write, write_options: Write, pair_folders: Path
) -> None:
    roots = {"dataroot_gt": str(pair_folders / "gt"), "dataroot_lq": str(pair_folders / "lq")}
    sets = {name: {"type": "PairedImageDataset", "name": name, **roots} for name in ("test_one", "test_two")}
    write_options({"datasets": sets, "network_g": None, "train": None, "val.val_freq": None}, "test.yml")
    plan, _ = ablate(write_ablation({"seeds": [3], "test": "test.yml"}))
    for run in plan.runs:
        history = read_history(run)
        assert set(history.final) == {"test_one", "test_two"}
        validated = history.validations[4]["val"]["psnr"]
        assert history.final["test_one"]["psnr"] == pytest.approx(validated, abs=1e-3)
    assert plan.runs[1].options["test"]["network_g"]["width"] == 8


def test_another_test_file_trains_nothing_again(
    write_ablation: Write, write_options: Write, pair_folders: Path
) -> None:
    roots = {"dataroot_gt": str(pair_folders / "gt"), "dataroot_lq": str(pair_folders / "lq")}
    sets = {"test_one": {"type": "PairedImageDataset", "name": "one", **roots}}
    options = {"datasets": sets, "network_g": None, "train": None, "val.val_freq": None}
    file = write_ablation({"seeds": [1], "grid": {"width": {"narrow": None}}, "test": "test.yml"})
    write_options(options, "test.yml")
    plan, _ = ablate(file)
    weights = plan.runs[0].output("train") / "models" / "net_g_latest.pth"
    written = weights.stat().st_mtime_ns
    write_options({**options, "val.metrics.other": {"type": "calculate_ssim", "crop_border": 0}}, "test.yml")
    plan, told = ablate(file)
    assert weights.stat().st_mtime_ns == written
    assert set(read_history(plan.runs[0]).final["one"]) == {"psnr", "other"}
    assert "finished already" not in told[0]


def test_a_dry_run_lists_the_runs_and_writes_nothing(write_ablation: Write, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_ablation()
    assert call("ablate", file, "--dry_run", "--json") == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    expected = [(cell, seed, 4, "to start") for seed in (1, 2) for cell in ("narrow", "wide")]
    assert [(row["cell"], row["seed"], row["iterations"], row["state"]) for row in rows] == expected
    assert not (file.parents[1] / "experiments").exists()


def test_one_cell_runs_by_itself_and_the_table_is_of_all_finished_ones(
    write_ablation: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_ablation({"seeds": [1]})
    assert call("ablate", file, "--cell", "wide", "--dry_run", "--json") == 0
    assert [row["cell"] for row in json.loads(capsys.readouterr().out)] == ["wide"]
    for cell in ("wide", "narrow"):
        assert call("ablate", file, "--cell", cell) == 0
    table = capsys.readouterr().out
    plan = plan_of(file)
    assert [run.is_finished() for run in plan.runs] == [True, True]
    assert "| narrow |" in table
    assert "| wide |" in table
    assert call("ablate", file, "--cell", "wild") == 2
    assert "--cell wild: there is no such cell; did you mean wide?" in capsys.readouterr().err


def test_machines_can_share_an_ablation_by_its_seeds(write_ablation: Write, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_ablation({"seeds": [1, 2, 3]})
    assert call("ablate", file, "--seed", "3", "--seed", "1", "--cell", "wide", "--dry_run", "--json") == 0
    assert [(row["cell"], row["seed"]) for row in json.loads(capsys.readouterr().out)] == [("wide", 1), ("wide", 3)]
    assert call("ablate", file, "--seed", "4") == 2
    assert "--seed 4: there is no such seed; there are 1, 2, 3" in capsys.readouterr().err


def test_a_dry_run_tells_what_is_missing_once(
    write_ablation: Write, write_options: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = {"test_one": {"type": "PairedImageDataset", "dataroot_gt": "/nowhere", "dataroot_lq": "/nowhere"}}
    write_options({"datasets": sets, "network_g": None, "train": None, "val.val_freq": None}, "test.yml")
    overrides = {"narrow": {"path": {"pretrain_network_g": "none.pth"}}}
    file = write_ablation({"grid": {"width": overrides}, "test": "test.yml"})
    assert call("ablate", file, "--dry_run") == 0
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert [line.partition("there is no ")[2].rpartition("/")[2] for line in warnings] == [
        "none.pth",
        "nowhere",
        "nowhere",
    ]
    assert "cell 'narrow': path.pretrain_network_g: there is no " in warnings[0]


def test_two_ablations_do_not_work_in_one_folder(write_ablation: Write) -> None:
    plan = plan_of(write_ablation())
    with locked(plan.folder), pytest.raises(ValueError, match=r"small is in use: process \d+"):
        train_runs(plan)


def test_a_smoke_test_runs_every_cell_once_and_leaves_the_real_one_alone(write_ablation: Write) -> None:
    file = write_ablation()
    assert call("ablate", file, "--smoke", "--force_yml", "train:ema_decay=0.5") == 0
    folder = file.parents[1] / "experiments" / "ablation"
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == ["small_smoke"]
    (table,) = [table for table in json.loads((folder / "small_smoke" / "results.json").read_text())["tables"]
                if table["at"] == "end"]  # fmt: skip
    for row in table["rows"]:
        assert list(row["values"]["val"]) == ["1"]
        assert row["iterations"] == 2
        assert row["seconds"] > 0  # also where there are fewer iterations than `print_freq`
    narrow, wide = (row["cost"]["parameters"] for row in table["rows"])
    assert narrow < wide
    assert 5 < table["inputs"]["val"] < 60
    page = (folder / "small_smoke" / "results.md").read_text()
    costs = "parameters | MACs (64×64) | CPU s per MP | iterations | samples | training s"
    assert f"| cell | seeds | val | {costs} |" in page
    assert "| degraded input |  | " in page
