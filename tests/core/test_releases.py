"""Released models: several networks with their cards in one safetensors file."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_release import small_release

from uir.core.checkpoint import CheckpointError, read_weights, roles_in, write_release


def test_each_network_comes_back_with_its_card(tmp_path: Path) -> None:
    states = {"g": {"a.w": torch.rand(2, 3)}, "dc": {"w": torch.arange(4)}}
    cards = {"g": {"arch": {"type": "It"}, "scale": 2}, "dc": {"labels": ["a", "b"], "temperature": 1.5}}
    write_release(tmp_path / "both.safetensors", {role: (states[role], cards[role]) for role in states})
    assert roles_in(tmp_path / "both.safetensors") == ("g", "dc")
    for role, state in states.items():
        read, card = read_weights(tmp_path / "both.safetensors", role=role)
        assert {key: value.tolist() for key, value in read.items()} == {k: v.tolist() for k, v in state.items()}
        assert {key: card[key] for key in cards[role]} == cards[role]
    with pytest.raises(CheckpointError, match=r"has no network_e; its networks are g, dc"):
        read_weights(tmp_path / "both.safetensors", role="e")


def test_a_single_network_keeps_the_names_of_its_tensors_for_other_tools(tmp_path: Path) -> None:
    write_release(tmp_path / "one.safetensors", {"g": ({"a.w": torch.ones(2)}, {"arch": {"type": "It"}})})
    assert list(load_file(tmp_path / "one.safetensors")) == ["a.w"]
    assert read_weights(tmp_path / "one.safetensors")[1]["arch"] == {"type": "It"}


def test_a_changed_tensor_or_card_is_noticed(tmp_path: Path) -> None:
    file = small_release(tmp_path / "it.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # a weight of the network that comes last
    with pytest.raises(CheckpointError, match=r"the file is damaged.*sha256"):
        _ = [read_weights(file, role=role) for role in ("g", "dc")]
    (length,) = struct.unpack("<Q", content[:8])
    head = json.loads(content[8 : 8 + length])
    head["__metadata__"]["uir"] = head["__metadata__"]["uir"].replace("haze", "hale")
    text = json.dumps(head).encode().ljust(length)
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    with pytest.raises(CheckpointError, match=r"the file is damaged: its 'card'"):
        read_weights(file, role="dc")


def test_cards_that_do_not_fit_the_tensors_are_a_damaged_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.ones(1)}, tmp_path / "it.safetensors", {"uir": "{}"})
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        read_weights(tmp_path / "it.safetensors")


def test_a_temperature_is_above_0(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"`temperature` on its card is to be above 0, it is 0"):
        read_weights(small_release(tmp_path / "it.safetensors", temperature=0), role="dc")
