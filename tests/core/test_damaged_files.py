"""Damaged files: every one is refused by one clear line, or loads exactly what was written."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from uir.core.checkpoint import CheckpointError, read_file, read_weights, write_checkpoint
from uir.core.digests import digest_of
from uir.engine.state import read_state, write_state

CARD = {"arch": {"type": "X", "width": 4, "legacy": False}, "scale": 2, "labels": ["noise", "haze"]}


def written(path: Path) -> Path:
    """A small file of each kind, by its ending."""
    generator = torch.Generator().manual_seed(0)
    weights = {f"body.{n}.weight": torch.randn(4, 3, 3, 3, generator=generator) for n in range(3)}
    if path.suffix == ".state":
        moments = {0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(40, generator=generator)}}
        model = {
            "optimizers": [{"state": moments, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.99), "params": [0]}]}]
        }
        write_state(path, 3, 1, model, {"seed": 5, "random": torch.arange(50)})
    else:
        averages = {key: value / 2 for key, value in weights.items()}
        write_checkpoint(path, {"params": weights, "params_ema": averages}, CARD)
    return path


def what_counts(path: Path) -> Any:
    """What a user of the file gets of it."""
    if path.suffix == ".state":
        state = read_state(path)
        return state["iter"], state["epoch"], state["optimizers"], state["uir"]
    weights, card = read_weights(path)
    return weights, read_weights(path, "params")[0], card.get("arch"), card.get("scale"), card.get("labels")


def refused_or_the_same(path: Path, expected: str) -> bool:
    """Whether a file is refused."""
    try:
        values = what_counts(path)
    except CheckpointError as error:
        text = str(error)
        assert text.startswith(f"{path}: ")
        assert len(text.splitlines()) == 1
        assert len(text) - len(str(path)) < 300
        assert "weights_only" not in text
        return True
    without_card = path.suffix != ".state" and values[2:] == (None, None, None)
    assert without_card or digest_of(values) == expected
    if without_card:  # the word `card` itself was hit: nothing tells the network, and the weights are the same
        assert digest_of(values[:2]) == digest_of(what_counts(written(path.with_name("whole.pth")))[:2])
    return False


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["net_g_3.pth", "3.state"])
def test_single_flipped_bits(tmp_path: Path, name: str) -> None:
    file = written(tmp_path / name)
    expected, whole = digest_of(what_counts(file)), file.read_bytes()
    drawn = random.Random(0)
    damaged = tmp_path / f"damaged{file.suffix}"
    refused = 0
    for _ in range(200):
        content = bytearray(whole)
        content[drawn.randrange(len(content))] ^= 1 << drawn.randrange(8)
        damaged.write_bytes(content)
        refused += refused_or_the_same(damaged, expected)
    assert refused > 50


@pytest.mark.parametrize("name", ["net_g_3.pth", "3.state"])
def test_a_cut_file_is_said_to_be_one(tmp_path: Path, name: str) -> None:
    file = written(tmp_path / name)
    whole = file.read_bytes()
    drawn = random.Random(1)
    for length in [0, 1, 2, len(whole) - 1, *(drawn.randrange(len(whole)) for _ in range(20))]:
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"the file is damaged or cut short") as caught:
            what_counts(file)
        assert "code" not in str(caught.value).removeprefix(str(file))


@pytest.mark.parametrize("group", ["params", "params_ema"])
def test_every_group_is_compared_whichever_is_read(tmp_path: Path, group: str) -> None:
    file = written(tmp_path / "net_g_3.pth")
    content = torch.load(file, weights_only=True)
    content[group]["body.1.weight"].view(-1)[5] += 1e-6
    torch.save(content, file)
    with pytest.raises(CheckpointError, match=f"its '{group}' is not what was written"):
        read_weights(file, "params")


def change_scale(content: dict[str, Any]) -> None:
    content["card"]["scale"] = 3


def change_arch(content: dict[str, Any]) -> None:
    content["card"]["arch"]["legacy"] = True


def drop_average(content: dict[str, Any]) -> None:
    del content["params_ema"]


@pytest.mark.parametrize("change", [change_scale, change_arch, drop_average])
def test_a_card_that_was_changed_or_a_group_that_is_gone_is_noticed(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    file = written(tmp_path / "net_g_3.pth")
    content = torch.load(file, weights_only=True)
    change(content)
    torch.save(content, file)
    with pytest.raises(CheckpointError, match="is not what was written"):
        read_file(file)


def test_files_without_digests_load(tmp_path: Path) -> None:
    """Those of basicsr, and earlier ones of uir, whose card has none of the card itself."""
    file = written(tmp_path / "net_g_3.pth")
    content = torch.load(file, weights_only=True)
    del content["card"]["sha256"]["card"]
    torch.save(content, file)
    assert read_weights(file)[1]["scale"] == 2
    state = tmp_path / "3.state"
    torch.save({"iter": 3, "epoch": 0, "optimizers": [], "schedulers": []}, state)
    assert read_state(state)["iter"] == 3


def test_a_state_that_was_changed_is_noticed(tmp_path: Path) -> None:
    file = written(tmp_path / "3.state")
    content = torch.load(file, weights_only=True)
    content["optimizers"][0]["param_groups"][0]["lr"] = 2e-3
    torch.save(content, file)
    with pytest.raises(CheckpointError, match="it is not what was written"):
        read_state(file)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 1.0}), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ([[1], 2], [1, [2]]), ("1", 1), (None, "None"),
        (torch.zeros(2, 3), torch.zeros(3, 2)), (torch.zeros(1), torch.zeros(1, dtype=torch.int32)), (True, 1),
    ],
)  # fmt: skip
def test_digests_tell_structures_apart(one: Any, other: Any) -> None:
    assert digest_of(one) != digest_of(other)
    assert digest_of(one) == digest_of(one)
