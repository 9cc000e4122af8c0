"""Recipes by name and by file, and degrading folders."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from uir.core.images import read_rgb, to_tensor, write_image
from uir.core.seeds import derive_seed
from uir.degradations.base import replay
from uir.degradations.degraded_files import degrade_files
from uir.degradations.haze_degradation import Haze
from uir.degradations.noise_degradation import GaussianNoise
from uir.degradations.pipeline_degradation import Sequence
from uir.degradations.recipes import load_degradation, load_recipe
from uir.degradations.record import DegradationRecord
from uir.registry import DEGRADATION_REGISTRY

RECIPES = Path(__file__).resolve().parents[2] / "options" / "degradation"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for index, name in enumerate(("a.png", "b.jpg", "trip/c.png")):
        generator = torch.Generator().manual_seed(index)
        write_image(folder / name, torch.rand(3, 12, 14, generator=generator))
    return folder


def written_recipe(tmp_path, text):
    path = tmp_path / "recipe.yml"
    path.write_text(text)
    return path


# loading ----------------------------------------------------------------------------------------------------------


def test_op_by_its_name_has_its_defaults():
    assert load_degradation("Haze").sample(1, (8, 8)) == Haze().sample(1, (8, 8))


def test_file_holds_what_it_says(tmp_path):
    path = written_recipe(tmp_path, "type: Sequence\nsteps:\n  - {type: Haze}\n  - {type: GaussianNoise, sigma: 1e1}\n")
    recipe = load_degradation(path)
    assert isinstance(recipe, Sequence)
    assert recipe.draw(3, (8, 8))[1]["sigma_255"] == 10.0
    assert load_degradation(str(path)).draw(3, (8, 8)) == recipe.draw(3, (8, 8))


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_project_works(path):
    result, record = load_degradation(path)(torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(0)), 0)
    assert result.shape in ((3, 20, 24), (3, 5, 6))
    assert record.is_known


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yml")), ids=lambda path: path.stem)
def test_a_file_named_like_a_preset_holds_its_recipe(path):
    if path.stem not in DEGRADATION_REGISTRY:
        pytest.skip("it is no preset's")
    preset, written = load_degradation(path.stem), load_degradation(path)
    for seed in range(20):
        assert written.record(seed, (40, 48)) == preset.record(seed, (40, 48))


def test_the_project_has_recipes():
    assert list(RECIPES.glob("*.yml"))


def test_unknown_name_shows_the_nearest():
    with pytest.raises(
        ValueError, match=r"recipe 'Gausiannoise': neither a degradation nor a test set \(nearest: GaussianNoise"
    ):
        load_recipe("Gausiannoise")
    with pytest.raises(ValueError, match=r"there are: "):
        load_recipe("zzz")


def test_pipeline_by_name_says_that_it_needs_a_file():
    with pytest.raises(ValueError, match=r"recipe Sequence: .*'steps'.*\.yml file"):
        load_recipe("Sequence")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type: Hase\n", r"recipe\.yml: .*nearest: Haze"),
        ("type: Haze\nbeta: [2, 1]\n", r"recipe\.yml: Haze\.beta: the range"),
        ("type: Sequence\nsteps: [{type: Haze}, {type: Rain}]\n", r"recipe\.yml: Sequence\.steps\[1\]: .*'Rain'"),
        ("- {type: Haze}\n", r"recipe\.yml: expected a mapping with `type` at the top, got list"),
        ("beta: 1\n", r"recipe\.yml: .*`type` is missing"),
        ("type: [\n", r"recipe\.yml"),
        ("", r"recipe\.yml: expected a mapping"),
        ("subsets: {a: {type: Haze}}\nscale: x\n", r"recipe\.yml: scale must be a whole number of at least 1, got 'x'"),
        ("subsets: {a: {type: Haze}}\nscale: 0\n", r"recipe\.yml: scale must be a whole number of at least 1, got 0"),
        ("subsets: {../a: {type: Haze}}\n", r"subsets\.\.\./a: expected the name of one folder"),
        ("subsets: {gt: {type: Haze}}\n", r"subsets\.gt: expected the name of one folder, other than 'gt'"),
    ],
)
def test_mistakes_in_a_file_name_the_file(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_recipe(written_recipe(tmp_path, text))


def test_scale_that_does_not_fit_is_told(tmp_path):
    path = written_recipe(tmp_path, "type: realesrgan\nscale: 4\n")
    assert load_recipe(path, 4).scale == load_recipe(path).scale == 4
    with pytest.raises(ValueError, match=r"makes images 4 times smaller, not 2 times"):
        load_recipe(path, 2)
    with pytest.raises(ValueError, match="scale must be at least 1, got 0"):
        load_recipe(path, 0)
    with pytest.raises(ValueError, match=r"no scale 7; expected one of 1, 2, 3, 4$"):
        load_recipe("realesrgan", 7)
    fold = written_recipe(tmp_path, "type: SFold\nscale: 4\n")  # here `scale` is the op's, not a preset's
    assert load_recipe(fold, 4).scale == 4
    assert load_recipe(fold).scale is None


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.yml"):
        load_recipe(tmp_path / "nothing.yml")


# degrading files --------------------------------------------------------------------------------------------------


def test_files_keep_their_relative_names(photos, tmp_path):
    done = degrade_files([photos], tmp_path / "out", "GaussianNoise", seed=1)
    assert sorted(file.name for file in done) == ["a.png", "b.png", "trip/c.png"]
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")) == [
        "a.png",
        "b.png",
        "manifest.json",
        "trip/c.png",
    ]


def test_files_that_stop_half_way_leave_no_manifest_of_an_earlier_time(photos, tmp_path):
    degrade_files([photos], tmp_path / "out", "GaussianNoise", seed=1)
    (photos / "z.png").write_text("no image")
    with pytest.raises(ValueError, match=r"z\.png"):
        degrade_files([photos], tmp_path / "out", "GaussianNoise", seed=2)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_written_pixels_are_the_degraded_image(photos, tmp_path):
    op = GaussianNoise(sigma=20)
    degrade_files([photos], tmp_path / "out", op, seed=5)
    expected, _ = op(to_tensor(read_rgb(photos / "trip" / "c.png")), derive_seed(5, "trip/c.png"))
    np.testing.assert_allclose(
        read_rgb(tmp_path / "out" / "trip" / "c.png"), expected.permute(1, 2, 0).numpy(), atol=0.5 / 255 + 1e-6
    )


def test_what_else_is_there_does_not_matter(photos, tmp_path):
    everything = degrade_files([photos], tmp_path / "all", "Haze", seed=2)
    alone = degrade_files([photos / "b.jpg"], tmp_path / "one", "Haze", seed=2)
    assert alone[0].sha256 == next(file.sha256 for file in everything if file.name == "b.png")


def test_manifest_lets_everything_be_checked_and_replayed(photos, tmp_path):
    out = tmp_path / "out"
    degrade_files([photos], out, "RainStreaks", seed=3, label="rain")
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["seed"] == 3
    assert len(manifest["files"]) == 3
    for entry in manifest["files"]:
        assert hashlib.sha256((out / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        record = DegradationRecord.from_dict(entry["record"])
        assert record.label == "rain"
        again = replay(record, to_tensor(read_rgb(photos / entry["source"])))
        np.testing.assert_allclose(read_rgb(out / entry["file"]), again.permute(1, 2, 0).numpy(), atol=0.5 / 255 + 1e-6)


def test_no_manifest_where_it_is_not_wanted(photos, tmp_path):
    degrade_files([photos], tmp_path / "out", "Haze", records=False)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_no_images_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no image found in .*empty"):
        degrade_files([tmp_path / "empty"], tmp_path / "out", "Haze")
    with pytest.raises(ValueError, match="there is no file or folder"):
        degrade_files([tmp_path / "nothing"], tmp_path / "out", "Haze")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"notes\.txt' is no image"):
        degrade_files([tmp_path / "notes.txt"], tmp_path / "out", "Haze")


@pytest.mark.parametrize("output", [".", "out"])
def test_output_inside_the_input_is_refused(photos, output):
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}
    with pytest.raises(ValueError, match="is inside the input folder"):
        degrade_files([photos], photos / output, "Haze")
    assert {path: path.read_bytes() for path in photos.rglob("*.*")} == before


def test_inputs_are_never_overwritten(photos):
    before = (photos / "a.png").read_bytes()
    with pytest.raises(ValueError, match=r"a\.png' is an input and would be overwritten"):
        degrade_files([photos / "a.png"], photos, "Haze")
    assert (photos / "a.png").read_bytes() == before


def test_two_images_for_one_name_are_refused(photos, tmp_path):
    write_image(photos / "b.png", torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(9)))
    with pytest.raises(ValueError, match=r"b\.jpg' and .*b\.png' would both be written"):
        degrade_files([photos], tmp_path / "out", "Haze")
    assert not (tmp_path / "out").exists()


def test_same_file_named_twice_is_done_once(photos, tmp_path):
    assert len(degrade_files([photos / "a.png", photos / "a.png"], tmp_path / "out", "Haze")) == 1


def test_the_manifest_is_the_same_wherever_it_is_made(photos, tmp_path):
    moved = tmp_path / "elsewhere" / "photos"
    shutil.copytree(photos, moved)
    for source, out in ((photos, "one"), (moved, "two")):
        degrade_files([source], tmp_path / out, "Haze", seed=4)
    assert (tmp_path / "one/manifest.json").read_bytes() == (tmp_path / "two/manifest.json").read_bytes()


def test_pairs_of_a_smaller_scale_are_cropped_alike(tmp_path):
    write_image(tmp_path / "photos/a.png", torch.rand(3, 23, 30, generator=torch.Generator().manual_seed(0)))
    degrade_files([tmp_path / "photos"], tmp_path / "out", load_recipe("dasr_wang_iso", scale=4, write_gt=True))
    assert read_rgb(tmp_path / "out/gt/a.png").shape == (20, 28, 3)
    assert read_rgb(tmp_path / "out/lq/a.png").shape == (5, 7, 3)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["scale"] == 4
    assert manifest["gt"][0]["file"] == "gt/a.png"


def test_a_file_may_list_the_subsets_of_a_test_set(photos, tmp_path):
    text = "subsets:\n  weak: {type: GaussianNoise, sigma: 5}\n  strong: {type: GaussianNoise, sigma: 50}\n"
    done = degrade_files([photos], tmp_path / "out", load_recipe(written_recipe(tmp_path, text)))
    assert len(done) == 6
    assert {file.record.steps[0]["sigma_255"] for file in done if file.name.startswith("weak/")} == {5.0}
    assert (tmp_path / "out/gt/trip/c.png").is_file()
    with pytest.raises(ValueError, match="a test set has `scale` and `subsets"):
        load_recipe(written_recipe(tmp_path, "subsets: {}\n"))


def test_a_scale_that_a_recipe_does_not_have_is_told(photos, tmp_path):
    with pytest.raises(ValueError, match="recipe 'Haze': it has no scale"):
        load_recipe("Haze", scale=4)
    with pytest.raises(ValueError, match="not its size divided by scale 2"):
        degrade_files([photos], tmp_path / "out", load_recipe(written_recipe(tmp_path, "type: Haze\n"), scale=2))
