"""Parameters with settings of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from uir.config.options import OptionError, load_options
from uir.config.schema import OptimOptions
from uir.models.building import build_model
from uir.models.parameter_groups import parameter_groups

Write = Callable[..., Path]
GROUPS = [{"parameters": ["*.bias"], "weight_decay": 0.5}, {"parameters": ["body.0"], "lr": 1e-2}]


def model_of(file: Path) -> Any:
    torch.manual_seed(0)
    return build_model(load_options(file), torch.device("cpu"))


def optimizer(**more: Any) -> OptimOptions:
    return OptimOptions.model_validate({"type": "AdamW", "lr": 1e-3, "weight_decay": 0.1, **more})


def step(model: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    gt: Tensor = torch.rand(2, 3, 16, 16, generator=generator)
    model.feed_data({"lq": nn.functional.avg_pool2d(gt, 2), "gt": gt})
    model.optimize_parameters(1)


def test_each_group_has_its_settings(write_options: Write) -> None:
    model = model_of(write_options({"train.optim_g.groups": GROUPS}))
    rest, biases, first = model.optimizers[0].param_groups
    assert (rest["lr"], biases["lr"], first["lr"]) == (1e-3, 1e-3, 1e-2)
    assert (rest["weight_decay"], biases["weight_decay"], first["weight_decay"]) == (0, 0.5, 0)
    assert [p.ndim for p in biases["params"]] == [1, 1, 1]
    assert first["params"] == [model.bare["g"].body[0].weight]
    assert sum(len(group["params"]) for group in (rest, biases, first)) == len(list(model.bare["g"].parameters()))


def test_carried_moments_go_by_name_not_by_place(write_options: Write) -> None:
    earlier = model_of(write_options({}))
    step(earlier)
    later = model_of(write_options({"train.optim_g.groups": GROUPS}, "later.yml"))
    later.carry_moments(earlier, "optim_g")
    for name, parameter in later.bare["g"].named_parameters():
        theirs = earlier.optimizers[0].state[dict(earlier.bare["g"].named_parameters())[name]]["exp_avg"]
        assert torch.equal(later.optimizers[0].state[parameter]["exp_avg"], theirs)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([["0.wheel"]], r"train.optim_g.groups\[0\].parameters: '0.wheel': no trained parameter has this name"),
        ([["0"], ["0.bias"]], r"groups\[1\].parameters: '0.bias': its parameters belong to earlier groups"),
    ],
)
def test_a_name_that_fits_nothing_is_an_error(groups: list[list[str]], message: str) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    with pytest.raises(ValueError, match=message):
        parameter_groups(net, optimizer(groups=[{"parameters": names} for names in groups]), "train.optim_g")


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"parameters": ["body"], "weigth_decay": 0}, "weigth_decay is not an argument of Adam; nearest: weight_decay"),
        ({"lr": 1e-3}, "optim_g.groups.*is missing; it is required"),
    ],
)  # fmt: skip
def test_a_group_is_checked_like_the_optimizer(write_options: Write, group: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        load_options(write_options({"train.optim_g.groups": [group]}))


def test_a_trained_run_with_groups_goes_on(write_options: Write) -> None:
    one, other = (model_of(write_options({"train.optim_g.groups": GROUPS})) for _ in range(2))
    step(one)
    other.optimizers[0].load_state_dict(one.optimizers[0].state_dict())
    assert other.optimizers[0].param_groups[1]["weight_decay"] == 0.5
