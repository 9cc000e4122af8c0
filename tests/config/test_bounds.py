"""Values that no run can use are mistakes of the file, found before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from uir.config.options import OptionError, load_options
from uir.config.trial_builds import RefusedError, try_network
from uir.engine.run import seed_everything

Write = Callable[..., Path]
NAN, INF = float("nan"), float("inf")


def problems_of(file: Path, **arguments: Any) -> str:
    with pytest.raises(OptionError) as caught:
        load_options(file, **arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("manual_seed", -1, "greater than or equal to 0"),
        ("manual_seed", 2**32, "less than 4294967296"),
        ("train.total_iter", 10**18, "less than or equal to 1000000000"),
        ("train.total_iter", 10**9 + 1, "less than or equal to 1000000000"),
        ("train.total_iter", True, "expected a number, got True"),
        ("train.accumulate", 10**18, "less than or equal to 1000000"),
        ("train.warmup_iter", -2, "greater than or equal to -1"),
        ("train.grad_clip", -1, "greater than 0"),
        ("train.grad_clip", 0, "greater than 0"),
        ("train.grad_clip", NAN, "a finite number"),
        ("train.grad_clip_g", -1, "greater than 0"),
        ("grad_clip", INF, "a finite number"),
        ("train.grad_clip", {"value": True}, "expected a number, got True"),
        ("train.optim_g.lr", INF, "a finite number"),
        ("num_gpu", True, "expected a number, got True"),
        ("network_g.width", True, "expected a number, got True"),
        ("train.pixel_opt.loss_weight", NAN, "a finite number"),
    ],
)
def test_a_value_that_no_run_can_use_is_a_mistake(write_options: Write, key: str, value: Any, says: str) -> None:
    text = problems_of(write_options({key: value}))
    assert f"{key}" in text
    assert says in text


@pytest.mark.parametrize("key", ["network_g:width", "train:pixel_opt:loss_weight", "train:scheduler:gamma"])
def test_nothing_is_no_number(write_options: Write, key: str) -> None:
    assert f"{key.replace(':', '.')}: expected a " in problems_of(write_options(), force=[f"{key}=~"])


def test_minutes_are_no_number_of_iterations(write_options: Write) -> None:
    file = write_options()
    file.write_text(file.read_text().replace("total_iter: 6", "total_iter: 1:30"))
    assert "train.total_iter: expected a whole number, got '1:30'" in problems_of(file)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("optim_g.weight_decay", -1, "train.optim_g (Adam) cannot be built: Invalid weight_decay value: -1"),
        ("optim_g.betas", [2, 2], "train.optim_g (Adam) cannot be built: Invalid beta parameter at index 0: 2"),
        ("optim_g.betas", [0.9], "train.optim_g"),
        ("optim_g.groups", [{"parameters": ["*"], "weight_decay": -1}], "train.optim_g.groups.0 (Adam) cannot"),
        ("scheduler", {"type": "CosineAnnealingRestartLR", "periods": [0]}, "train.scheduler (Cosine"),
        ("scheduler", {"type": "OneCycleLR", "max_lr": 1e-3, "total_steps": -1}, "total_steps"),
        ("scheduler", {"type": "StepLR", "step_size": 0}, "train.scheduler (StepLR) cannot be built: ZeroDivision"),
        ("scheduler", {"type": "MultiStepLR", "milestones": [1], "restart_weights": [-1]}, "expected no negative"),
        ("scheduler_g", {"type": "MultiStepLR", "milestones": [-1]}, "train.scheduler_g (MultiStepLR) cannot be"),
    ],
)  # fmt: skip
def test_what_optimizers_and_schedulers_refuse_is_a_mistake(
    write_options: Write, key: str, value: Any, says: str
) -> None:
    file = write_options({f"train.{key}": value})
    assert says in problems_of(file)
    assert problems_of(file).startswith(f"{file}:")  # and its line


@pytest.mark.parametrize("groups", [3, [3], {"parameters": ["*"]}, [{"parameters": 3}], [{"weight": 1}]])
def test_groups_of_another_form_are_a_mistake(write_options: Write, groups: Any) -> None:
    assert "train.optim_g.groups" in problems_of(write_options({"train.optim_g.groups": groups}))


def test_a_shared_scheduler_is_one_mistake(write_options: Write) -> None:
    text = problems_of(write_options({"train.scheduler": {"type": "StepLR", "step_size": 0}}))
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ({"type": "NAFNet", "width": 8, "enc_blk_nums": [-1]}, "network_g.enc_blk_nums: expected no negative number"),
        ({"type": "NAFNet", "width": 0}, "network_g (NAFNet)"),
        ({"type": "SwinIR", "embed_dim": 7, "num_heads": [2, 2, 2, 2], "depths": [1, 1, 1, 1]}, "network_g (SwinIR)"),
        ({"type": "PixelShuffleSR", "width": -6}, "network_g (PixelShuffleSR) cannot be built: RuntimeError: Trying"),
    ],
)
def test_what_a_network_refuses_is_a_mistake(write_options: Write, network: dict[str, Any], says: str) -> None:
    assert says in problems_of(write_options({"network_g": network}))


def test_a_network_is_built_without_values_and_without_drawing_numbers() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    network = try_network({"type": "NAFNet", "width": 4})
    assert all(parameter.is_meta for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_that_computes_with_values_is_built_with_them(write_options: Write) -> None:
    file = write_options({"network_g": {"type": "Computing", "scale": 2}, "plugins": ["./computing.py"]})
    (file.parent / "computing.py").write_text(
        "import torch\nfrom torch import nn\nfrom uir.registry import ARCH_REGISTRY\n"
        "@ARCH_REGISTRY.register()\n"
        "class Computing(nn.Module):\n"
        "    def __init__(self, scale: int) -> None:\n"
        "        super().__init__()\n"
        "        self.body = nn.Conv2d(3, int(torch.ones(12).sum().item()), 1)\n"
    )
    assert load_options(file).options.network_g.type == "Computing"  # type: ignore[attr-defined]


def test_what_is_refused_is_remembered() -> None:
    for _ in range(2):
        with pytest.raises(RefusedError, match="cannot be built"):
            try_network({"type": "SwinIR", "embed_dim": 7, "num_heads": [2], "depths": [1]})


def test_a_seed_above_what_numpy_takes_wraps() -> None:
    seed_everything(2**32 + 3)
