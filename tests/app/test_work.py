"""What the page does with a photograph, without a server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from uir import Restorer
from uir.app.work import SIDE, chosen_controls, look_at_upload, restore_upload
from uir.core.images import read_image, write_image
from uir.inference.controls import Control


def test_the_file_has_the_depth_of_the_photograph_and_the_pixels_of_the_restorer(
    restorer: Restorer, photograph: Path, tmp_path: Path
) -> None:
    done = restore_upload(restorer, photograph, tmp_path, {})
    pixels = read_image(done.file)
    assert done.file.name == "a cup_restored.png"
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, restorer(photograph))
    assert done.diagnosis == restorer.diagnose(photograph)
    assert done.text.startswith("88 × 72 pixels, 3 channels, 16 bits, PNG")


def test_the_pictures_are_the_photograph_and_the_result_in_8_bits(
    restorer: Restorer, photograph: Path, tmp_path: Path
) -> None:
    done = restore_upload(restorer, photograph, tmp_path, {})
    for picture, pixels in ((done.before, read_image(photograph)), (done.after, read_image(done.file))):
        assert np.abs(picture - pixels / 257).max() <= 0.51


def test_a_large_photograph_is_reduced_for_the_screen(restorer: Restorer, tmp_path: Path) -> None:
    write_image(tmp_path / "wide.png", np.full((20, 2 * SIDE, 1), 128, np.uint8))
    picture, _ = look_at_upload(restorer, tmp_path / "wide.png")
    assert picture.shape == (10, SIDE, 3)
    assert np.abs(picture - 128.0).max() <= 1


def test_a_photograph_that_fails_is_an_error_with_its_reason(restorer: Restorer, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"no\.png: cannot be decoded as an image"):
        restore_upload(restorer, tmp_path / "no.png", tmp_path / "out", {})


def test_only_what_a_user_has_changed_is_set() -> None:
    controls = (Control("a", "int", "", 3), Control("b", "text", ""), Control("c", "float", "", 0.0))
    assert chosen_controls(controls, (3, "", 0.5)) == {"c": 0.5}
    assert chosen_controls(controls, (4, "x", None)) == {"a": 4, "b": "x"}
