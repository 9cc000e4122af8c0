"""Parts of resuming, one by one: random states, other processes' parts, metrics, and what continues between stages."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from uir.config.options import Stage, load_options
from uir.core.checkpoint import CheckpointError, read_file
from uir.engine import checkpoints, state, train_loop
from uir.engine.checkpoints import Checkpoints
from uir.engine.evaluation import Evaluation
from uir.engine.state import (
    find_state,
    forget_rows_after,
    own_state_of,
    random_state,
    read_state,
    set_random_state,
    write_state,
)
from uir.engine.train_loop import Training, train

Write = Callable[..., Path]

DRAWING_NET = '''
from torch import nn
from uir.registry import ARCH_REGISTRY

if "DrawingSR" not in ARCH_REGISTRY:
    @ARCH_REGISTRY.register()
    class DrawingSR(nn.Sequential):
        """Draws from torch's global generator at every step."""
        def __init__(self):
            super().__init__(nn.Conv2d(3, 12, 3, padding=1), nn.Dropout(0.5), nn.PixelShuffle(2))
'''


class FakeModel:
    """Writes files of one letter, as a method writes its networks."""

    def save(self, folder: Path, name: int | str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"net_g_{name}.pth").write_text("x")

    def training_state(self) -> dict[str, Any]:
        return {"optimizers": []}


def draws() -> list[float]:
    """A number of every global generator; numpy keeps every second normal number for later."""
    return [random.gauss(0, 1), random.random(), *np.random.normal(size=3), float(torch.rand(1)), float(torch.randn(1))]


def test_global_generators_go_on_where_they_were() -> None:
    draws()
    saved = random_state()
    expected = draws()
    draws()
    set_random_state(saved)
    assert draws() == expected


def test_a_resumed_run_draws_what_the_whole_one_draws(write_options: Write) -> None:
    changes = {"network_g": {"type": "DrawingSR"}, "plugins": ["./drawing.py"], "train.total_iter": 4, "val": None}
    changes["logger.save_checkpoint_freq"] = 2
    whole, parts = (write_options({**changes, "name": name}, f"{name}.yml") for name in ("whole", "parts"))
    (whole.parent / "drawing.py").write_text(DRAWING_NET)
    train(load_options(whole))
    train(load_options(parts, force=["train:total_iter=2"]))
    train(load_options(parts), auto_resume=True)
    folders = [file.parents[1] / "experiments" / file.stem / "models" for file in (whole, parts)]
    one, other = (read_file(folder / "net_g_4.pth")["params"] for folder in folders)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_every_process_reads_its_own_part_of_a_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "4.state"
    write_state(file, 4, 1, {"optimizers": []}, {"stream": "of 0"})
    write_state(tmp_path / "rank1" / "4.state", 4, 1, {"optimizers": []}, {"stream": "of 1"})
    for rank, expected in ((0, "of 0"), (1, "of 1"), (2, "of 0")):  # there were only two processes
        monkeypatch.setattr(state, "rank_and_world", lambda rank=rank: (rank, 3))
        assert own_state_of(file, read_state(file))["stream"] == expected
    assert own_state_of(None, None) == {}


def test_another_process_writes_only_its_own_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "rank_and_world", lambda: (1, 2))
    monkeypatch.setattr(checkpoints, "is_main", lambda: False)
    Checkpoints(tmp_path).save(FakeModel(), 4, 1, {"stream": "of 1"})
    files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert files == ["training_states/rank1/4.state"]
    assert read_state(tmp_path / files[0])["uir"] == {"stream": "of 1"}


def test_processes_draw_differently(write_options: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    class ReachedError(Exception):
        pass

    def seeded(seed: int) -> None:
        raise ReachedError(seed)

    monkeypatch.setattr(train_loop, "seed_everything", seeded)
    monkeypatch.setattr(train_loop, "rank_and_world", lambda: (3, 4))
    with pytest.raises(ReachedError) as reached:
        train(load_options(write_options({"manual_seed": 5})))
    assert reached.value.args == (8,)


def test_the_seed_reaches_every_stage(write_options: Write) -> None:
    stages = [{"name": "one", "iterations": 1}, {"name": "two", "iterations": 1}]
    loaded = load_options(write_options({"train.total_iter": None, "train.stages": stages})).with_seed(77)
    assert [loaded.seed, *(stage.file.seed for stage in loaded.stages)] == [77, 77, 77]
    assert [stage.file.raw["manual_seed"] for stage in loaded.stages] == [77, 77]


def test_the_best_values_continue_into_the_next_stage() -> None:
    earlier, later = object.__new__(Training), object.__new__(Training)
    earlier.best, later.best = {"val": {"psnr": {"val": 30.0, "iter": 3, "better": "higher"}}}, {}
    later.stage = Stage("two", None, carry=())  # type: ignore[arg-type]
    later.carry_from(earlier)
    assert later.best == earlier.best


def test_a_staged_run_compares_with_the_best_of_earlier_stages(write_options: Write) -> None:
    stages = [{"name": "one", "iterations": 2}, {"name": "two", "iterations": 2, "optim_g": {"lr": 10.0}}]
    file = write_options({"train.total_iter": None, "train.stages": stages, "train.scheduler": None, "val.val_freq": 2})
    folder = train(load_options(file))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    values = {row["iter"]: row["metrics"]["psnr"] for row in rows if "dataset" in row}
    assert values[2] > values[4]  # the second stage's rate is far too high
    assert read_state(folder / "training_states" / "4.state")["uir"]["best"]["val"]["psnr"]["iter"] == 2


ROWS = [{"iter": 1}, {"iter": 2}, {"iter": 2, "dataset": "val"}, {"iter": 3}, {"iter": 3, "dataset": "val"}]


@pytest.mark.parametrize(
    ("iteration", "validated", "kept"), [(2, True, ROWS[:3]), (2, False, ROWS[:2]), (3, True, ROWS), (0, True, [])]
)
def test_rows_that_will_come_again_are_dropped(
    tmp_path: Path, iteration: int, validated: bool, kept: list[dict[str, Any]]
) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + '{"iter": 3, "dat')  # a crash cut the last line
    forget_rows_after(file, iteration, validated)
    assert [json.loads(line) for line in file.read_text().splitlines()] == kept


def test_the_newest_state_is_that_of_the_greatest_number(write_options: Write, tmp_path: Path) -> None:
    named = tmp_path / "named" / "1.state"
    write_state(named, 1, 0, {"optimizers": []}, {})
    loaded = load_options(write_options({"path": {"resume_state": str(named)}}))
    assert find_state(loaded, auto_resume=True).file == named  # the run has no state of its own
    for number in (9, 10, 2):
        write_state(loaded.run_dir / "training_states" / f"{number}.state", number, 0, {"optimizers": []}, {})
    assert find_state(loaded, auto_resume=True).file == loaded.run_dir / "training_states" / "10.state"
    assert find_state(loaded, auto_resume=False).file == named


@pytest.mark.parametrize("part", ["training_states/10.state", "training_states/rank1/10.state", "models/net_g_10.pth"])
def test_a_damaged_part_sends_the_run_to_the_state_before(write_options: Write, part: str) -> None:
    loaded = load_options(write_options())
    for number in (9, 10):
        write_state(loaded.run_dir / "training_states" / f"{number}.state", number, 0, {"optimizers": []}, {})
    damaged = loaded.run_dir / part
    damaged.parent.mkdir(parents=True, exist_ok=True)
    damaged.write_bytes(b"PK cut")
    newest = find_state(loaded, auto_resume=True)
    assert newest.file == loaded.run_dir / "training_states" / "9.state"
    assert [str(damaged) in problem for problem in newest.passed_over] == [True]
    (loaded.run_dir / "training_states" / "9.state").write_bytes(b"PK cut")
    with pytest.raises(CheckpointError, match="none of the run's states can be used"):
        find_state(loaded, auto_resume=True)


@pytest.mark.parametrize(("keep", "left"), [(None, [1, 2, 10, 11]), (1, [11]), (2, [10, 11]), (9, [1, 2, 10, 11])])
def test_the_last_checkpoints_are_those_of_the_greatest_numbers(
    tmp_path: Path, keep: int | None, left: list[int]
) -> None:
    written = Checkpoints(tmp_path, keep_last=keep)
    for number in (1, 2, 10, 11):
        write_state(tmp_path / "training_states" / "rank1" / f"{number}.state", number, 0, {"optimizers": []}, {})
        written.save(FakeModel(), number, 0, {})
    for pattern in ("models/net_g_*.pth", "training_states/*.state", "training_states/rank1/*.state"):
        assert sorted(int(path.stem.rpartition("_")[2]) for path in tmp_path.glob(pattern)) == left


def test_later_checkpoints_are_forgotten_and_that_of_the_iteration_is_not(tmp_path: Path) -> None:
    written = Checkpoints(tmp_path)
    for number in (1, 2, 3):
        written.save(FakeModel(), number, 0, {})
    written.forget_after(2)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["net_g_1.pth", "net_g_2.pth"]


@pytest.mark.parametrize(
    ("better", "values", "kept_at"),
    [("higher", [1.0, 2.0, 2.0, 1.5], 1), ("lower", [2.0, 1.0, 1.0, 1.5], 1), ("higher", [3.0, 2.0], 0)],
)
def test_the_best_is_replaced_only_by_a_better_one(
    tmp_path: Path, better: str, values: list[float], kept_at: int
) -> None:
    written, best = Checkpoints(tmp_path, keep_best="m"), {}
    for iteration, value in enumerate(values):
        sets = [Evaluation("a", results={"m": value - 1}), Evaluation("b", results={"m": value + 1})]
        written.save_best(FakeModel(), sets, best, better, iteration)
    assert (best["best_checkpoint"]["iter"], best["best_checkpoint"]["val"]) == (kept_at, values[kept_at])
    assert (tmp_path / "models" / "net_g_best_m.pth").exists()
