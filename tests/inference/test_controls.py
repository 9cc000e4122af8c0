"""Controls read what a user types, and refuse what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from uir.inference.controls import Control
from uir.inference.predictor import Place, Predictor, Running, predict


@pytest.mark.parametrize(
    ("control", "value", "expected"),
    [
        (Control("n", "int", "", low=1, high=9), "4", 4),
        (Control("n", "int", "", low=1, high=9), 9, 9),
        (Control("n", "int", ""), 1e6, 1_000_000),
        (Control("s", "float", "", low=0, high=1), "0.25", 0.25),
        (Control("t", "text", ""), "remove the noise", "remove the noise"),
        (Control("c", "choice", "", choices=("a", "b")), "b", "b"),
    ],
)
def test_values_are_read(control: Control, value: Any, expected: Any) -> None:
    assert control.read(value) == expected


@pytest.mark.parametrize(
    ("control", "value", "message"),
    [
        (Control("n", "int", "", low=1, high=9), "10", "n: expected a whole number from 1 up to 9, got '10'"),
        (Control("n", "int", ""), "2.5", "n: expected a whole number, got '2.5'"),
        (Control("n", "int", ""), 2.5, "n: expected a whole number, got 2.5"),
        (Control("n", "int", ""), True, "n: expected a whole number, got True"),
        (Control("s", "float", ""), "nan", "s: expected a number, got 'nan'"),
        (Control("c", "choice", "", choices=("a", "b")), "d", "c: expected one of a, b, got 'd'"),
        (Control("t", "text", ""), 3, "t: expected a text, got 3"),
        (Control("r", "image", ""), torch.zeros(3, 4), r"r: expected an image file, an array .* got \(3, 4\)"),
        (Control("r", "image", ""), torch.zeros(1, 3, 4), r"r: expected an image file, an array .* got \(1, 3, 4\)"),
        (Control("r", "image", ""), torch.zeros(1, 4, 4, 4), r"r: expected an image file, .* got \(1, 4, 4, 4\)"),
        (Control("r", "image", ""), 3, "r: expected an image file, an array .* got int"),
    ],
)
def test_what_does_not_fit_is_refused(control: Control, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        control.read(value)


def test_an_image_is_a_file_an_array_or_a_tensor(tmp_path: Path) -> None:
    control = Control("reference", "image", "")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "r.png"), pixels[..., ::-1])
    tensor = torch.from_numpy(pixels / 255).float().permute(2, 0, 1)[None]
    for value in (str(tmp_path / "r.png"), pixels, tensor):
        torch.testing.assert_close(control.read(value), tensor)
    assert control.read(pixels[..., 0]).shape == (1, 3, 5, 7)


class Needy(nn.Module):
    def forward(self, lq: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        return lq + depth


def test_a_network_that_asks_for_more_than_it_gets_is_refused_before_it_runs() -> None:
    with pytest.raises(ValueError, match=r"network_g: Needy needs `depth`, but Predictor gives only the image"):
        Predictor({"g": Needy()}).check()


def test_what_the_batch_lacks_is_named() -> None:
    class Deep(Predictor):
        supplies = ("depth",)

    predictor = Deep({"g": Needy()})
    lq = torch.zeros(1, 3, 4, 4)
    with pytest.raises(ValueError, match="restoring needs `depth`; set it"):
        predict(predictor, {"lq": lq}, Running(torch.device("cpu")))
    restored = predict(predictor, {"lq": lq, "depth": torch.ones(1, 1, 4, 4)}, Running(torch.device("cpu"))).restored
    assert torch.equal(restored, torch.ones(1, 3, 4, 4))


@pytest.mark.parametrize("size", [(5, 7), (1, 2), (8, 8)])
def test_a_place_cuts_and_pads_like_the_image(size: tuple[int, int]) -> None:
    whole = torch.rand(1, 3, 20, 20)
    place = Place(slice(2, 2 + size[0]), slice(3, 3 + size[1]), (8, 8))
    part = place.of(whole)
    assert part.shape[-2:] == (8, 8)
    assert torch.equal(part[..., : size[0], : size[1]], whole[..., 2 : 2 + size[0], 3 : 3 + size[1]])
