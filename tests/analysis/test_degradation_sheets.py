"""Pictures of what degradations do."""

from pathlib import Path

import numpy as np
import pytest
import torch

from uir.analysis.degradation_sheets import op_rows, pictured_ops, write_degradation_sheets
from uir.core.images import read_rgb, write_image
from uir.core.sheets import write_sheet
from uir.degradations.base import Degradation
from uir.registry import DEGRADATION_REGISTRY

IMAGE = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def photo(tmp_path):
    write_image(tmp_path / "photo.png", IMAGE)
    return tmp_path / "photo.png"


def test_every_op_with_severities_is_pictured():
    pictured = {name for names in pictured_ops().values() for name in names}
    own = [name for name in DEGRADATION_REGISTRY.keys() if issubclass(DEGRADATION_REGISTRY.get(name), Degradation)]  # noqa: SIM118
    assert pictured == {name for name in own if DEGRADATION_REGISTRY.get(name).severities}
    assert len(pictured) > 40


def test_a_row_shows_the_clean_image_and_three_severities_of_its_size():
    for label, pictures in op_rows(["GaussianNoise", "Resize"], IMAGE):
        assert label in ("GaussianNoise", "Resize")
        assert [picture.shape for picture in pictures] == [(24, 32, 3)] * 4
        errors = [np.abs(picture - pictures[0]).mean() for picture in pictures]
        assert errors == sorted(errors)


@pytest.mark.thorough
@pytest.mark.parametrize("recipe", [None, "Haze", "realesrgan", "denoising"])
def test_a_sheet_is_written_for_each_photograph(photo, tmp_path, recipe):
    (written,) = write_degradation_sheets([photo], tmp_path / "out", recipe, width=40)
    assert written == tmp_path / "out" / "photo_sheet.jpg"
    sheet = read_rgb(written)
    rows = sum(len(names) for names in pictured_ops().values()) if recipe is None else 1
    assert sheet.shape[0] > 24 * rows
    assert sheet.shape[1] > 4 * 40


def test_no_photograph_is_told(tmp_path):
    with pytest.raises(ValueError, match="no image found"):
        write_degradation_sheets([], tmp_path)


def test_mistakes_are_told_before_anything_is_drawn(photo, tmp_path):
    with pytest.raises(ValueError, match=r"there is no file or folder .nowhere\.png."):
        write_degradation_sheets([photo, Path("nowhere.png")], tmp_path / "out")
    write_image(tmp_path / "more" / "photo.png", IMAGE)
    with pytest.raises(ValueError, match=r"would both be written to .*photo_sheet\.jpg"):
        write_degradation_sheets([photo, tmp_path / "more"], tmp_path / "out", "Haze")
    assert not (tmp_path / "out").exists()


def test_the_given_photograph_is_not_called_clean(photo, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr("uir.analysis.degradation_sheets.write_sheet", lambda *a: titles.extend(a[2]))
    write_degradation_sheets([photo], tmp_path, "Haze", width=40)
    assert titles == ["as given", "mild", "medium", "severe"]


@pytest.mark.thorough
def test_a_large_sheet_is_a_small_file(tmp_path):
    noise = np.random.default_rng(0).random((1500, 1500, 3), np.float32)
    sheet = write_sheet(tmp_path / "sheet.jpg", [("noise", [noise] * 2)], ["a", "b"], 1500)
    assert 500_000 < sheet.stat().st_size < 3_000_000


def test_a_photograph_named_twice_gets_one_sheet(photo, tmp_path):
    assert len(write_degradation_sheets([photo, photo], tmp_path / "out", "Haze", width=40)) == 1
