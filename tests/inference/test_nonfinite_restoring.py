"""Weights and outputs that are not finite: refused by name, and no picture is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from uir.cli.main import main
from uir.core.checkpoint import CheckpointError, write_checkpoint
from uir.inference.loading import load_predictor
from uir.inference.restorer import NonFiniteImageError, Restorer
from uir.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class OneGainRestorer(nn.Module):
    """gain · x / (1 − whether all of x is black): a black image gives infinity or NaN."""

    pad_multiple = scale = 1

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(torch.zeros(width).shape))

    def forward(self, lq: Tensor) -> Tensor:
        return self.gain.mean() * lq / (lq.max() > 0).float()


def photographs(folder: Path) -> Path:
    folder.mkdir()
    for name, value in (("a_grey", 100), ("black", 0), ("white", 255)):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((8, 8, 3), value, np.uint8))
    return folder


def checkpoint(path: Path, gain: float = 1.0, **card: Any) -> Path:
    described = {"arch": {"type": "OneGainRestorer"}, "scale": 1, **card}
    write_checkpoint(path, {"params": {"gain": torch.tensor([gain])}}, described)
    return path


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path, capsys: Any) -> None:
    file, out = checkpoint(tmp_path / "net_g_3.pth", value), tmp_path / "out"
    with pytest.raises(SystemExit) as left:
        main(["restore", str(photographs(tmp_path / "in")), "-o", str(out), "--model", str(file), "--device", "cpu"])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert f"{file}: these weights are not usable: gain holds 1 values that are NaN or infinity" in said
    assert not out.exists()


def test_an_output_that_is_not_finite_is_refused_and_the_others_are_restored(tmp_path: Path, capsys: Any) -> None:
    file, out, given = checkpoint(tmp_path / "net_g_3.pth"), tmp_path / "out", photographs(tmp_path / "in")
    with pytest.raises(SystemExit) as left:
        main(["restore", str(given), "-o", str(out), "--model", str(file), "--device", "cpu"])
    assert left.value.code == 1
    said = capsys.readouterr().out
    assert "1 image failed:" in said
    assert f"{given / 'black.png'}: OneGainRestorer gave values for black that are NaN or infinity" in said
    assert sorted(path.name for path in out.iterdir()) == ["a_grey.png", "white.png"]


def test_half_precision_is_named_as_a_reason() -> None:
    with pytest.raises(NonFiniteImageError, match=r"restore in fp32 \(--precision fp32\)"):
        Restorer(OneGainRestorer(), precision="bf16")(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"scale": "two"}, "`scale` on its card is to be an integer, it is 'two'"),
        ({"scale": 0}, "`scale` on its card is to be at least 1"),
        ({"arch": "OneGainRestorer"}, "`arch` on its card is to be a mapping"),
        ({"arch": {"width": 4}}, "`arch.type` on its card is to be the name of a class"),
        ({"arch": {"type": "OneGainRestorer", "width": "wide"}}, "OneGainRestorer cannot be built as its"),
        ({"arch": {"type": "OneGainRestorer", "width": -1}}, "OneGainRestorer cannot be built as its"),
        ({"labels": 3}, "`labels` on its card is to be a list"),
        ({"predictor": {"type": "NetworkPredictor", "steps": 3}}, "`predictor` on its card does not fit"),
    ],
)  # fmt: skip
def test_a_card_of_another_kind_is_refused_by_one_line(card: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "net_g_3.pth", **card)
    with pytest.raises(CheckpointError) as caught:
        load_predictor(file)
    assert str(caught.value).startswith(f"{file}: {said}")
    assert len(str(caught.value).splitlines()) == 1
