"""Checkpoints of other programs: their keys and prefixes are read, and what is no weight is refused by one line."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from uir.core.checkpoint import CheckpointError, load_weights, read_weights


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def loads(file: Path, state: dict[str, Tensor], target: nn.Module) -> str:
    taken = load_weights(target, file)
    assert all(torch.equal(state[key], value) for key, value in target.state_dict().items())
    return taken


@pytest.mark.parametrize(
    "key", ["model_state_dict", "generator", "g_ema", "weight", "state_dict", "model.state_dict", "params"]
)
def test_usual_keys(tmp_path: Path, key: str) -> None:
    state = network().state_dict()
    content: Any = state
    for name in reversed(key.split(".")):
        content = {name: content, "epoch": 3}
    torch.save(content, tmp_path / "x.pth")
    assert loads(tmp_path / "x.pth", state, network()) == key


WRAPPERS = ("net.", "module.", "_orig_mod.")
ORDERS = ["".join(order) for count in (1, 2, 3) for order in itertools.permutations(WRAPPERS, count)]


@pytest.mark.parametrize("prefix", [*ORDERS, "module.module.", "net.net.", "module.net.module._orig_mod."])
def test_prefixes_in_any_order(tmp_path: Path, prefix: str) -> None:
    state = network().state_dict()
    torch.save({"params": {prefix + key: value for key, value in state.items()}}, tmp_path / "x.pth")
    loads(tmp_path / "x.pth", state, network())


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_network_that_has_such_a_name_itself_keeps_it(tmp_path: Path, prefix: str) -> None:
    class Wrapping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

    state = Wrapping().state_dict()
    torch.save({prefix + key: value for key, value in state.items()}, tmp_path / "x.pth")
    loads(tmp_path / "x.pth", state, Wrapping())


def test_counters_of_thop_and_of_torch_s_average_are_left_out(tmp_path: Path) -> None:
    state = network().state_dict()
    counters = {"total_ops": torch.zeros(1), "module.0.total_params": torch.zeros(1), "n_averaged": torch.tensor(3)}
    torch.save({**{f"module.{key}": value for key, value in state.items()}, **counters}, tmp_path / "x.pth")
    loads(tmp_path / "x.pth", state, network())


def test_the_entry_that_was_taken_is_told(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save({"params": state}, tmp_path / "x.pth")
    assert load_weights(network(), tmp_path / "x.pth", "params_ema") == "params"
    torch.save({"params": state, "params_ema": state}, tmp_path / "x.pth")
    assert load_weights(network(), tmp_path / "x.pth", "params_ema") == "params_ema"
    torch.save(state, tmp_path / "x.pth")
    assert load_weights(network(), tmp_path / "x.pth", "params") == "the file itself"


WEIGHT = torch.ones(4, 3, 3, 3)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (WEIGHT.to_sparse(), "0.weight is a tensor that is sparse"),
        (WEIGHT.to("meta"), "0.weight is a tensor that is without values"),
        (WEIGHT.to(torch.complex64), "0.weight holds complex64, the network expects float32"),
        (WEIGHT.long(), "0.weight holds int64, the network expects float32"),
        (WEIGHT * float("nan"), "these weights are not usable: 0.weight holds 108 values that are NaN"),
    ],
)
def test_what_is_no_weight_is_refused_by_one_line(tmp_path: Path, value: Tensor, said: str) -> None:
    file = tmp_path / "x.pth"
    torch.save({**network().state_dict(), "0.weight": value}, file)
    with pytest.raises(CheckpointError) as caught:
        load_weights(network(), file)
    assert str(caught.value).startswith(f"{file}: {said}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("wrapped", [False, True])
def test_keys_that_are_no_names_are_refused(tmp_path: Path, wrapped: bool) -> None:
    state = {0: torch.zeros(1), 1: torch.zeros(2)}
    torch.save({"params": state} if wrapped else state, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"x\.pth: expected the names of weights as keys, got 0"):
        read_weights(tmp_path / "x.pth")


def test_half_precision_weights_load_as_floats(tmp_path: Path) -> None:
    state = network().half().state_dict()
    torch.save(state, tmp_path / "x.pth")
    target = network()
    load_weights(target, tmp_path / "x.pth")
    assert target.state_dict()["0.weight"].dtype == torch.float32
