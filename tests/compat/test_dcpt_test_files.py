"""Test files as DCPT's and MaskDCPT's authors write them: what they measure, and that they read the same converted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uir.config.converting import convert
from uir.config.dialects import translate
from uir.config.options import OptionFile, load_options, read_merged
from uir.core.images import write_image
from uir.data.building import build_dataset

FORMS = Path(__file__).parent / "published_forms"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a folder `options` and small images where the published forms look for them."""
    folder = tmp_path / "project"
    (folder / "options").mkdir(parents=True)
    names = ["clean/0", "dark/0", "hazy/0_a", "frames/0/0", "frames/0/1", "rainless/im_0", "rainy/im_0_a"]
    for index, name in enumerate(names):
        write_image(folder / "datasets" / f"{name}.png", np.full((24, 24, 3), 200 - 20 * index, np.uint8))
    for name in ("one", "two"):
        (folder / "datasets" / f"{name}.txt").write_text("clean/0.png dark/0.png\n")
    return folder


def form_of(project: Path, name: str) -> OptionFile:
    shutil.copy(FORMS / name, project / "options")
    return load_options(project / "options" / name, is_train=False)


def steps_of(loaded: OptionFile) -> dict[str, dict[str, Any]]:
    """The first step of the first image of each set, by the set's name; empty for real pairs."""
    sets = {section.name or key: build_dataset(loaded, key)[0] for key, section in loaded.options.datasets.items()}
    return {name: dict((item["degradation"].steps or [{}])[0]) for name, item in sets.items()}


def test_dcpt_s_test_file_measures_what_it_says(project: Path) -> None:
    loaded = form_of(project, "dcpt_test.yml")
    steps = steps_of(loaded)
    assert list(steps) == ["noise15", "jpeg50", "mosaic", "burst", "hazy"]
    assert (steps["noise15"]["sigma_255"], steps["noise15"]["clip"]) == (15, False)
    assert steps["jpeg50"]["quality"] == 50
    assert loaded.raw["network_g"]["type"] == "NAFNet"


def test_mask_dcpt_s_test_file_measures_what_it_says(project: Path) -> None:
    loaded = form_of(project, "mask_dcpt_test.yml")
    steps = steps_of(loaded)
    assert list(steps) == ["noise60", "jpeg50", "blur", "listed", "folders", "rain", "unlisted"]
    assert (steps["noise60"]["sigma_255"], steps["noise60"]["clip"]) == (60, True)
    assert "Blur" in steps["blur"]["op"] or steps["blur"]["op"] == "SincFilter"
    assert [len(build_dataset(loaded, key)) for key in ("test_4", "test_5")] == [2, 2]  # type: ignore[arg-type]


def test_mask_dcpt_s_restormer_is_not_dcpt_s(project: Path) -> None:
    network = form_of(project, "mask_dcpt_test.yml").raw["network_g"]
    assert (network["type"], network["LayerNorm_type"]) == ("Restormer", "WithBias")


@pytest.mark.parametrize("name", ["dcpt_test.yml", "mask_dcpt_test.yml"])
def test_every_key_without_effect_is_said_once(project: Path, name: str) -> None:
    shutil.copy(FORMS / name, project / "options")
    raw, marks = read_merged(project / "options" / name)
    notes = translate(raw, marks).notes
    for key in ("crop_border", "suffix", *(["eval_lpips"] if "mask" in name else [])):
        assert sum(note.startswith(f"{key} is left out") for note in notes) == 1
    assert sum("scale_range" in note for note in notes) == 1


@pytest.mark.parametrize("name", ["dcpt_test.yml", "mask_dcpt_test.yml"])
def test_a_converted_test_file_reads_the_same(project: Path, name: str) -> None:
    one = form_of(project, name)
    new = project / "options" / "new.yml"
    done = convert(one.file, new)
    assert done.refused == done.problems == ()
    assert load_options(new, is_train=False).raw == one.raw
