"""Published evaluation protocols as seeded test sets."""

import json

import pytest
import torch

from uir.core.images import read_rgb, write_image
from uir.degradations.degraded_files import degrade_files
from uir.degradations.recipes import load_recipe
from uir.degradations.test_sets import NINE_KERNELS, TEST_SETS
from uir.registry.components import signature_of


@pytest.fixture
def photos(tmp_path):
    for index, name in enumerate(("a.png", "b.png")):
        image = torch.rand(3, 37, 50, generator=torch.Generator().manual_seed(index))
        write_image(tmp_path / "photos" / name, image)
    return tmp_path / "photos"


def made(name, photos, out, **arguments):
    degrade_files([photos], out, load_recipe(name, **arguments), seed=1)
    return json.loads((out / "manifest.json").read_text())


@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(TEST_SETS))
def test_a_test_set_is_written_whole_and_the_same_again(name, photos, tmp_path):
    first, again = made(name, photos, tmp_path / "one"), made(name, photos, tmp_path / "two")
    assert first == again
    recipe = load_recipe(name)
    assert len(first["files"]) == 2 * len(recipe.subsets)
    assert len(first["gt"]) == 2
    height, width = read_rgb(tmp_path / "one/gt/a.png").shape[:2]
    assert (height % recipe.scale, width % recipe.scale) == (0, 0)
    for subset in recipe.subsets:
        assert read_rgb(tmp_path / f"one/{subset}/a.png").shape[:2] == (height // recipe.scale, width // recipe.scale)


@pytest.mark.parametrize(
    ("scale", "widths"),
    [
        (2, [0.8, 0.91, 1.03, 1.14, 1.26, 1.37, 1.49, 1.6]),
        (3, [1.35, 1.5, 1.65, 1.8, 1.95, 2.1, 2.25, 2.4]),
        (4, [1.8, 2.0, 2.2, 2.4, 2.6, 2.8, 3.0, 3.2]),
    ],
)
def test_gaussian8_has_the_published_widths(scale, widths):
    subsets = TEST_SETS["gaussian8"](scale).subsets
    assert [spec["sigma"] for spec in subsets.values()] == pytest.approx(widths, abs=0.005)


@pytest.mark.thorough
def test_nine_kernels_are_those_published_with_three_noises(photos, tmp_path):
    manifest = made("nine_kernels", photos, tmp_path / "out")
    drawn = {
        entry["file"].split("/")[0]: [step for step in entry["record"]["steps"] if step["op"] != "Resize"]
        for entry in manifest["files"]
    }
    assert len(drawn) == 27
    for index, (width_1, width_2, angle) in enumerate(NINE_KERNELS, start=1):
        blur, noise, _ = drawn[f"kernel{index}_noise10"]
        assert (blur["sigma_x_px"], blur["sigma_y_px"], blur["angle_deg"]) == (width_1, width_2, angle)
        assert noise["sigma_255"] == 10
        assert [step["op"] for step in drawn[f"kernel{index}_noise0"]] == ["AnisotropicGaussianBlur", "Quantise"]


def test_denoising_has_three_strengths(photos, tmp_path):
    manifest = made("denoising", photos, tmp_path / "out")
    strengths = {entry["record"]["steps"][0]["sigma_255"] for entry in manifest["files"]}
    assert strengths == {15, 25, 50}


def test_cdd11_is_labelled_with_its_eleven_classes(photos, tmp_path):
    manifest = made("cdd11_classes", photos, tmp_path / "out")
    assert all(entry["record"]["label"] == entry["file"].split("/")[0] for entry in manifest["files"])
    assert len({entry["record"]["label"] for entry in manifest["files"]}) == 11


def test_levels_of_dasr_are_one_a_folder(photos, tmp_path):
    manifest = made("dasr_liang_types", photos, tmp_path / "out")
    levels = {entry["file"].split("/")[0]: entry["record"]["steps"][0].get("level") for entry in manifest["files"]}
    assert levels == {"bicubic": None, "type1": "weak", "type2": "standard", "type3": "severe"}


@pytest.mark.parametrize("name", sorted(TEST_SETS))
def test_an_unknown_scale_is_told(name):
    message = "there is no scale 7" if "scale" in signature_of(TEST_SETS[name]).parameters else "it has no scale"
    with pytest.raises(ValueError, match=message):
        load_recipe(name, scale=7)
