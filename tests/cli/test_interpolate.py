"""`uir interpolate`, as a user types it, and the arithmetic behind it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from uir.cli import main
from uir.core.checkpoint import read_file, write_checkpoint
from uir.inference.restorer import Restorer
from uir.registry.components import build_network

NET = {"type": "NAFNet", "width": 4, "middle_blk_num": 1, "enc_blk_nums": [1], "dec_blk_nums": [1]}


def call(*arguments: object) -> int:
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as stop:
        main(["interpolate", *(str(argument) for argument in arguments)])
    return int(stop.value.code or 0)


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    files = []
    for seed, name in enumerate(("a.pth", "b.pth")):
        torch.manual_seed(seed)
        state = build_network(NET).state_dict()
        average = {key: 2 * value for key, value in state.items()}
        card = {"arch": NET, "scale": 1, "role": "g"}
        write_checkpoint(tmp_path / name, {"params": state, "params_ema": average}, card)
        files.append(tmp_path / name)
    return files


@pytest.mark.parametrize("alpha", [0, 0.25, 1])
def test_every_weight_and_average_lies_between(pair: list[Path], tmp_path: Path, alpha: float) -> None:
    assert call(*pair, "--alpha", alpha, "-o", tmp_path / "c.pth") == 0
    first, second, made = (read_file(file) for file in (*pair, tmp_path / "c.pth"))
    for group in ("params", "params_ema"):
        for key, value in made[group].items():
            expected = (1 - alpha) * first[group][key] + alpha * second[group][key]
            torch.testing.assert_close(value, expected)
    assert made["card"]["interpolated"] == {"first": "a.pth", "second": "b.pth", "alpha": alpha}


def test_the_result_restores(pair: list[Path], tmp_path: Path) -> None:
    assert call(*pair, "--alpha", 0.5) == 0
    restored = Restorer.from_pretrained(tmp_path / "a_0.5.pth")(np.full((16, 16, 3), 0.5, np.float32))
    assert restored.shape == (16, 16, 3)


def test_plain_state_dicts_are_interpolated_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("a", 1.0), ("b", 3.0)):
        torch.save({"w": torch.tensor([value]), "count": torch.tensor(4)}, tmp_path / f"{name}.pth")
    assert call(tmp_path / "a.pth", tmp_path / "b.pth", "--alpha", 0.25, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert read_file(Path(told["output"]))["params"] == {"w": torch.tensor([1.5]), "count": torch.tensor(4)}


@pytest.mark.parametrize("change", ["arch", "key"])
def test_different_networks_are_refused(pair: list[Path], capsys: pytest.CaptureFixture[str], change: str) -> None:
    content = read_file(pair[1])
    state = dict(content["params"])
    card = {"arch": {**NET, "width": 8}} if change == "arch" else {}
    if change == "key":
        state.pop("intro.bias")
    write_checkpoint(pair[1], {"params": state}, card)
    assert call(*pair) == 2
    assert "are of different networks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alpha", "1.5"], "a share from 0 to 1"),
        (["-o", "{a}"], "-o takes another name"),
        (["-o", "{folder}"], "folder"),
    ],
)
def test_mistakes_are_named(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert call(*pair, *(text.format(a=pair[0], folder=tmp_path) for text in arguments)) == 2
    assert message in capsys.readouterr().err


def test_what_is_there_is_kept(pair: list[Path], tmp_path: Path) -> None:
    (tmp_path / "c.pth").write_text("mine")
    assert call(*pair, "-o", tmp_path / "c.pth") == 2
    assert (tmp_path / "c.pth").read_text() == "mine"
    assert call(*pair, "-o", tmp_path / "c.pth", "--force") == 0
