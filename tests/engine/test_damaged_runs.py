"""Runs whose newest checkpoint is damaged: `--auto_resume` names it and goes on from the one before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from uir.config.options import load_options
from uir.core.checkpoint import CheckpointError, read_file
from uir.engine.train_loop import train

Write = Callable[..., Path]
QUICK = {"val": None, "datasets.val": None, "logger.save_checkpoint_freq": 2, "logger.print_freq": 100}


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-300])


def flip(file: Path) -> None:
    """A bit of the middle, where the tensors are."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(content)


@pytest.mark.thorough
@pytest.mark.parametrize("damaged", ["training_states/4.state", "models/net_g_4.pth"])
@pytest.mark.parametrize("damage", [cut, flip])
def test_auto_resume_goes_on_from_the_newest_whole_checkpoint(
    write_options: Write, damaged: str, damage: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_options(QUICK)
    whole = read_file(train(load_options(file, force=["name=whole"])) / "models" / "net_g_6.pth")["params"]
    folder = train(load_options(file, force=["train:total_iter=4"]))
    damage(folder / damaged)
    train(load_options(file), auto_resume=True)
    log = "".join(path.read_text() for path in sorted(folder.glob("train_small_*.log")))
    assert f"{folder / damaged}: " in log
    assert f"--auto_resume goes on from {folder / 'training_states' / '2.state'}" in log
    resumed = read_file(folder / "models" / "net_g_6.pth")["params"]
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    read_file(folder / damaged)  # the iteration was reached again


def test_a_run_without_a_whole_state_says_so_and_touches_nothing(write_options: Write) -> None:
    file = write_options(QUICK)
    folder = train(load_options(file, force=["train:total_iter=4"]))
    states = sorted((folder / "training_states").glob("*.state"))
    for state in states:
        cut(state)
    with pytest.raises(
        CheckpointError, match=r"--auto_resume: none of the run's states can be used: .*4\.state: .*2\.st"
    ):
        train(load_options(file), auto_resume=True)
    assert sorted((folder / "training_states").glob("*.state")) == states


def test_a_damaged_state_that_the_file_names_is_refused(write_options: Write) -> None:
    file = write_options(QUICK)
    folder = train(load_options(file, force=["train:total_iter=4"]))
    state = folder / "training_states" / "4.state"
    flip(state)
    with pytest.raises(CheckpointError, match=r"4\.state: .*the file is damaged"):
        train(load_options(file, force=[f"path:resume_state={state}"]))


def test_another_process_s_part_counts_too(write_options: Write) -> None:
    file = write_options(QUICK)
    folder = train(load_options(file, force=["train:total_iter=4"]))
    part: dict[str, Any] = torch.load(folder / "training_states" / "4.state", weights_only=True)
    other = folder / "training_states" / "rank1" / "4.state"
    other.parent.mkdir()
    torch.save({**part, "iter": 5}, other)
    train(load_options(file), auto_resume=True)
    log = "".join(path.read_text() for path in sorted(folder.glob("train_small_*.log")))
    assert f"{other}: the file is damaged" in log
