"""Runs in which steps are skipped: no checkpoint is written in a row of them, and a resume starts from before it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from uir.config.options import load_options
from uir.core.checkpoint import read_file
from uir.engine.interruption import Interrupted, Interruption
from uir.engine.train_loop import train
from uir.models.base_model import NonFiniteLossError
from uir.models.sr_model import SRModel

Write = Callable[..., Path]
QUICK = {"val": None, "datasets.val": None, "logger.save_checkpoint_freq": 1, "train.ema_decay": 0.9}


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the gradients of some iterations NaN; their losses are finite."""

    def at(*iterations: int) -> None:
        was = SRModel.compute_losses

        def losses(self: Any) -> dict[str, torch.Tensor]:
            values = was(self)
            if self.current_iter in iterations:
                for value in values.values():
                    value.register_hook(lambda gradient: gradient * float("nan"))
            return values

        monkeypatch.setattr(SRModel, "compute_losses", losses)

    return at


def states(folder: Path) -> list[int]:
    return sorted(int(p.stem) for p in (folder / "training_states").glob("*.state"))


def test_a_checkpoint_that_is_due_in_a_streak_waits_for_the_first_good_step(
    write_options: Write, spoil: Callable[..., None]
) -> None:
    spoil(3, 4)
    folder = train(load_options(write_options({**QUICK, "logger.save_checkpoint_freq": 3})))
    assert states(folder) == [5, 6]
    for name in ("params", "params_ema"):
        weights = read_file(folder / "models" / "net_g_5.pth")[name]
        assert all(value.isfinite().all() for value in weights.values())
    assert read_file(folder / "training_states" / "5.state")["nonfinite_in_a_row"] == 0


def test_a_run_that_ends_by_a_streak_resumes_from_before_it(write_options: Write, spoil: Callable[..., None]) -> None:
    spoil(3, 4, 5)
    file = write_options({**QUICK, "train.max_nonfinite": 3})
    folder = file.parents[1] / "experiments" / "small"
    with pytest.raises(NonFiniteLossError, match=r"iteration 5: the gradient norm of network_g is nan.*3 in a row"):
        train(load_options(file))
    assert states(folder) == [1, 2]
    spoil()
    train(load_options(file, force=["train:max_nonfinite=10"]), auto_resume=True)
    assert states(folder) == [1, 2, 6]  # 3 to 5 were skipped again, and counted from none


def test_the_end_of_a_run_saves_what_is_due(write_options: Write, spoil: Callable[..., None]) -> None:
    spoil(5, 6)
    folder = train(load_options(write_options({**QUICK, "logger.save_checkpoint_freq": 3})))
    assert states(folder) == [3, 6]


def test_a_signal_in_a_streak_leaves_the_checkpoint_before_it(
    write_options: Write, spoil: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(3)
    file = write_options(QUICK)
    folder = file.parents[1] / "experiments" / "small"
    iterations = iter(range(1, 99))

    def requested(self: Interruption, device: Any) -> bool:
        self.signal = signal.SIGTERM
        return next(iterations) == 3

    monkeypatch.setattr(Interruption, "requested", requested)
    with pytest.raises(Interrupted):
        train(load_options(file))
    assert states(folder) == [1, 2]
    log = next(folder.glob("train_small_*.log")).read_text()
    assert "Stopped at iteration 3, which is not saved, because its step was skipped." in log
