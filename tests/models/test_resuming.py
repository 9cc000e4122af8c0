"""A resumed run whose option file was changed meanwhile: the file holds for settings, the state for progress."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from duel_model import duel, step

COSINE = {"type": "CosineAnnealingLR", "T_max": 4}
MULTI = {"type": "MultiStepLR", "milestones": [2, 6], "gamma": 0.5}
ADAM = {"type": "Adam", "lr": 0.1}


def trained(iterations: int = 3, **train: Any) -> Any:
    model = duel(**train)
    for iteration in range(1, iterations + 1):
        model.update_learning_rate(iteration, warmup_iter=2)
        step(model)
    return model


def resumed(model: Any, folder: Path, caplog: pytest.LogCaptureFixture, **train: Any) -> tuple[Any, str]:
    """A model of a changed file that goes on from another one's state, and what was said."""
    model.save(folder, 3)
    other = duel(**train)
    caplog.clear()  # what was said while the models were built
    with caplog.at_level(logging.WARNING, "uir"):
        other.resume_training({"iter": 3, **model.training_state()}, folder)
    return other, caplog.text


def rates(model: Any, first: int = 4, last: int = 9) -> list[list[float]]:
    """The rates of further iterations, of each network."""
    seen = []
    for iteration in range(first, last + 1):
        model.update_learning_rate(iteration)
        seen.append([optimizer.param_groups[0]["lr"] for optimizer in model.optimizers])
    return seen


@pytest.mark.parametrize("scheduler", [None, COSINE, MULTI])
@pytest.mark.parametrize("optimizer", [{"type": "SGD", "lr": 0.1}, ADAM])
def test_without_a_change_all_goes_on_bit_by_bit_and_nothing_is_said(
    scheduler: Any, optimizer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = {"scheduler": scheduler, "optim_g": optimizer}
    model = trained(**train)
    other, said = resumed(model, tmp_path, caplog, **train)
    assert said == ""
    assert other.training_state() == model.training_state()
    assert rates(other) == rates(model)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"optim_g": ADAM}, {"optim_g": {**ADAM, "lr": 0.01}}, "train.optim_g.lr: 0.1 in the state, 0.01 in the file"),
        ({"optim_g": ADAM, "scheduler": MULTI}, {"optim_g": {**ADAM, "lr": 0.01}, "scheduler": MULTI},
         "train.optim_g.lr: 0.1 in the state, 0.01 in the file"),
        ({"scheduler": COSINE}, {"scheduler": {**COSINE, "T_max": 8}}, "train.scheduler.T_max: 4 in the state, 8 "),
        ({"scheduler_d": COSINE}, {"scheduler_d": {**COSINE, "T_max": 8}}, "scheduler_d.T_max: 4 in the state, 8 in"),
        ({"scheduler": MULTI}, {"scheduler": {**MULTI, "milestones": [3, 5]}},
         "train.scheduler.milestones: [2, 6] in the state, [3, 5] in the file"),
        ({"scheduler": MULTI}, {"scheduler": COSINE},
         "train.scheduler.type: another schedule in the state, CosineAnnealingLR in the file"),
    ],
)  # fmt: skip
def test_the_file_s_rates_hold_and_both_values_are_said(
    before: Any, after: Any, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other, text = resumed(trained(**before), tmp_path, caplog, **after)
    assert said in text
    assert "the file holds from here on" in text
    assert rates(other) == rates(trained(**after))  # as if it had been this file from the start


def test_other_settings_of_an_optimizer_are_the_file_s_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = trained(optim_g=ADAM)
    other, said = resumed(model, tmp_path, caplog, optim_g={**ADAM, "betas": [0.5, 0.9], "weight_decay": 0.1})
    assert "train.optim_g.betas: [0.9, 0.999] in the state, [0.5, 0.9] in the file" in said
    assert "train.optim_g.weight_decay: 0 in the state, 0.1 in the file" in said
    group = other.optimizer_g.param_groups[0]
    assert (group["betas"], group["weight_decay"], group["lr"]) == ((0.5, 0.9), 0.1, 0.1)
    moments = [m.optimizer_g.state_dict()["state"][0]["exp_avg"] for m in (model, other)]
    assert torch.equal(*moments)


@pytest.mark.parametrize(
    ("before", "after"), [("Adam", "SGD"), ("SGD", "Adam"), ("Adam", "AdamW"), ("Adam", "RMSprop")]
)
def test_another_optimizer_is_refused(before: str, after: str, tmp_path: Path) -> None:
    model = trained(optim_g={"type": before, "lr": 0.1})
    model.save(tmp_path, 3)
    with pytest.raises(ValueError, match=f"train.optim_g.type: the file says {after}, the state is of {before}"):
        duel(optim_g={"type": after, "lr": 0.1}).resume_training({"iter": 3, **model.training_state()}, tmp_path)


def test_another_optimizer_is_refused_where_the_state_does_not_name_its_own(tmp_path: Path) -> None:
    model = trained(optim_g=ADAM)
    model.save(tmp_path, 3)
    state = {"iter": 3, **model.training_state()}
    del state["optimizer_types"]
    with pytest.raises(ValueError, match="the file says SGD, the state is of another optimizer"):
        duel().resume_training(state, tmp_path)


class Scaler:
    """Keeps what it is given, as torch's scaler of fp16 gradients does."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {"scale": 65536.0}

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = dict(state)


@pytest.mark.parametrize("saved", [{"scale": 128.0}, {}])
def test_the_scale_of_gradients_goes_on_if_the_state_has_one(saved: dict[str, Any], tmp_path: Path) -> None:
    model, other = trained(), duel()
    model.save(tmp_path, 3)
    other.scaler = Scaler()
    other.resume_training({"iter": 3, **model.training_state(), "scaler": saved}, tmp_path)
    assert other.scaler.state == (saved or {"scale": 65536.0})
