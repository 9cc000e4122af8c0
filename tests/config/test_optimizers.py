"""Optimizers and schedulers by name, and by any path."""

from __future__ import annotations

import pytest
import torch
from jsonschema import Draft202012Validator

from uir.config.json_schema import option_schema
from uir.config.optimizers import optimizer_class, scheduler_class
from uir.config.options import OptionError, load_options
from uir.core.schedulers import MultiStepRestartLR


def test_names_are_torch_s_and_basicsr_s() -> None:
    assert optimizer_class("AdamW") is torch.optim.AdamW
    assert scheduler_class("MultiStepLR") is MultiStepRestartLR
    assert scheduler_class("OneCycleLR") is torch.optim.lr_scheduler.OneCycleLR


def test_a_dotted_path_names_any_class() -> None:
    assert optimizer_class("torch.optim.adam.Adam") is torch.optim.Adam
    assert scheduler_class("torch.optim.lr_scheduler.StepLR") is torch.optim.lr_scheduler.StepLR


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Adamw", "no optimizer is called 'Adamw'"),
        ("no_such.Thing", r"no optimizer is found at 'no_such.Thing' \(No module named 'no_such'\)"),
        ("torch.nn.Linear", "is no optimizer: it does not derive from torch.optim"),
    ],
)
def test_what_is_no_optimizer_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        optimizer_class(name)


def test_timm_s_optimizers() -> None:
    pytest.importorskip("timm")
    parameter = torch.nn.Parameter(torch.ones(2))
    assert isinstance(optimizer_class("timm:lion")([parameter], lr=0.1), torch.optim.Optimizer)
    with pytest.raises(ValueError, match="timm has no optimizer 'lyon'"):
        optimizer_class("timm:lyon")


def test_option_files_may_name_them(write_options) -> None:
    changes = {"train.optim_g": {"type": "torch.optim.adam.Adam", "lr": 1e-3, "betas": [0.9, 0.99]}}
    assert load_options(write_options(changes)).options.train is not None
    changes["train.optim_g"]["beta"] = 0.9
    with pytest.raises(OptionError, match=r"train.optim_g.beta is not an argument of torch.optim.adam.Adam"):
        load_options(write_options(changes))


@pytest.mark.thorough
def test_the_schema_for_editors_takes_them_too() -> None:
    schema = option_schema("SRModel")["$defs"]["optimizers"]["properties"]["type"]
    validator = Draft202012Validator(schema)
    assert [validator.is_valid(name) for name in ("AdamW", "timm:lion", "my_pkg.Sophia", "Adamw")] == [
        True, True, True, False,
    ]  # fmt: skip


def test_observers_are_refused_for_a_model_that_validates_itself(write_options) -> None:
    pytest.importorskip("basicsr")
    observers = {"mine": {"type": "PictureObserver", "pictures": None}}
    with pytest.raises(OptionError, match=r"val.observers cannot be used with basicsr:SRModel"):
        load_options(write_options({"model_type": "basicsr:SRModel", "val.observers": observers}))
