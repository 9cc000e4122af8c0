"""Learning rates against their closed form, basicsr's own classes, and warm-up."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from uir.compat import prepare
from uir.core.schedulers import CosineAnnealingRestartCyclicLR, CosineAnnealingRestartLR, MultiStepRestartLR


def rates(cls: Any, steps: int = 40, **arguments: Any) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = cls(optimizer, **arguments)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


CASES = [
    (MultiStepRestartLR, {"milestones": [5, 9, 9, 30], "gamma": 0.5}),
    (MultiStepRestartLR, {"milestones": [5, 15, 25], "gamma": 0.1, "restarts": [0, 20], "restart_weights": [1, 0.5]}),
    (MultiStepRestartLR, {"milestones": [5, 20, 25], "gamma": 0.1, "restarts": [0, 20], "restart_weights": [1, 0.5]}),
    (CosineAnnealingRestartLR, {"periods": [40], "eta_min": 1e-3}),
    (CosineAnnealingRestartLR, {"periods": [10, 20, 10], "restart_weights": [1, 0.5, 0.25], "eta_min": 1e-3}),
]


@pytest.mark.parametrize(("cls", "arguments"), CASES)
def test_the_rates_are_basicsr_s(cls: Any, arguments: dict[str, Any]) -> None:
    prepare()
    theirs = pytest.importorskip("basicsr.models.lr_scheduler")
    assert rates(cls, **arguments) == pytest.approx(rates(getattr(theirs, cls.__name__), **arguments), rel=1e-9)


def test_cosine_is_the_formula() -> None:
    found = rates(CosineAnnealingRestartLR, steps=11, periods=[10], eta_min=0.1)
    expected = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * t / 10)) for t in range(11)]
    assert found == pytest.approx(expected)


def test_past_the_last_period_the_rate_stays() -> None:
    assert rates(CosineAnnealingRestartLR, steps=15, periods=[10], eta_min=0.1)[10:] == pytest.approx([0.1] * 5)


def test_every_cycle_goes_down_to_a_lowest_rate_of_its_own() -> None:
    found = rates(
        CosineAnnealingRestartCyclicLR, steps=20, periods=[4, 8, 3], restart_weights=[1, 0.5, 1], eta_mins=[1.0, 0.1, 0]
    )  # fmt: skip
    cycle = [0.1 + 0.5 * 0.9 * 0.5 * (1 + math.cos(math.pi * t / 8)) for t in range(1, 9)]
    last = [0.5 * (1 + math.cos(math.pi * t / 3)) for t in range(1, 4)]
    assert found == pytest.approx([1.0] * 5 + cycle + last + [0.0] * 4)


def test_a_cycle_without_a_lowest_rate_is_an_error() -> None:
    with pytest.raises(ValueError, match="periods has 2 entries, eta_mins 1; one lowest rate a period"):
        rates(CosineAnnealingRestartCyclicLR, periods=[3, 4], restart_weights=[1, 1], eta_mins=[0.1])


@pytest.mark.parametrize(("cls", "arguments"), [
    (MultiStepRestartLR, {"milestones": [3], "restarts": [0, 2]}),
    (CosineAnnealingRestartLR, {"periods": [3, 4]}),
])  # fmt: skip
def test_weights_must_match_restarts(cls: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one weight a"):
        rates(cls, **arguments)


@pytest.mark.parametrize("scheduler", [
    {"type": "MultiStepLR", "milestones": [100]},
    {"type": "ExponentialLR", "gamma": 1.0},
])  # fmt: skip
def test_after_warm_up_the_full_rate_is_reached(write_options: Any, scheduler: dict[str, Any]) -> None:
    """A schedule that builds on the last rate must not be bent by warm-up."""
    from uir.config.options import load_options
    from uir.models.building import build_model

    model = build_model(load_options(write_options({"train.scheduler": scheduler})), torch.device("cpu"))
    found = []
    for iteration in range(1, 9):
        model.update_learning_rate(iteration, warmup_iter=5)
        found.append(model.get_current_learning_rate()[0])
        model.optimizers[0].step()
    assert found == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3, 1e-3, 1e-3, 1e-3])
