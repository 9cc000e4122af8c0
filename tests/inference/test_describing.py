"""`uir card`: what a file of weights is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from small_networks import build_network
from small_release import LABELS, RESTORER, small_release

from uir.cli import run


def test_a_released_model_shows_both_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = small_release(tmp_path / "it.safetensors", temperature=1.5)
    run(["card", str(file)])
    text = capsys.readouterr().out
    assert text.splitlines()[1] == f"  sha256  {hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert "network_g: HalfNAFNet, " in text
    assert f"  labels  {', '.join(LABELS)}" in text
    assert "  temperature  1.5" in text
    run(["card", str(file), "--json"])
    networks = json.loads(capsys.readouterr().out)["networks"]
    assert networks["g"]["arch"] == RESTORER
    assert networks["dc"]["card"]["labels"] == LABELS


def test_a_file_without_a_card_is_recognised_or_said_to_be_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = build_network("NAFNet")
    torch.save({"params": network.state_dict(), "params_ema": network.state_dict()}, tmp_path / "theirs.pth")
    described = run(["card", str(tmp_path / "theirs.pth")])["networks"]["g"]
    assert described["arch"]["width"] == ARCH_CONFIGS["NAFNet"]["width"]
    assert described["entries"] == ["params", "params_ema"]
    assert "network_g: NAFNet (recognised by its weights), " in capsys.readouterr().out
    torch.save({"w": torch.ones(3)}, tmp_path / "other.pth")
    run(["card", str(tmp_path / "other.pth")])
    assert "network_g: of an unknown class, 3 weights in 1 tensors" in (text := capsys.readouterr().out)
    assert "  missing  has no card that names its network" in text
