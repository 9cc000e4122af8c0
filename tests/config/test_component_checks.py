"""Degradations are built while an option file is checked: what their values may be, they know best themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uir.config.component_checks import recipe_problems
from uir.config.options import OptionError, OptionFile, load_options

ROOT = Path(__file__).resolve().parents[2]
Write = Callable[..., Path]
KEY = "datasets.train.degradation"


@pytest.fixture
def degraded(write_options: Write, pair_folders: Path) -> Callable[[Any], Path]:
    """Writes a training file whose images are degraded so."""

    def write(degradation: Any) -> Path:
        train = {
            "type": "DegradedImageDataset", "dataroot_gt": str(pair_folders / "gt"), "batch_size_per_gpu": 2,
            "degradation": degradation,
        }  # fmt: skip
        return write_options({"scale": 1, "datasets.train": train, "datasets.val": None, "val": None})

    return write


def problem_of(file: Path) -> str:
    with pytest.raises(OptionError) as error:
        load_options(file)
    (problem,) = error.value.problems
    return str(problem)


def noise(sigma: Any) -> dict[str, Any]:
    return {"type": "GaussianNoise", "sigma": sigma}


@pytest.mark.parametrize(
    ("degradation", "said"),
    [
        (noise([50, 5]), ".sigma: the range [50, 5] is empty"),
        (noise(-1), ".sigma: must be at least 0"),
        ({"type": "Sequence", "steps": [{"type": "Haze"}, noise([50, 5])]}, ".steps.1.sigma: the range"),
        ({"type": "Maybe", "step": {"type": "JPEG", "quality": [95, 30]}}, ".step.quality: the range"),
        ({"type": "OneOf", "steps": [noise(5), noise(9)], "weights": [1]}, ".weights: expected a list of 2 numbers"),
        ({"type": "Task", "tasks": {"a": noise(5), "b": noise([9, 5])}}, ".tasks.b.sigma: the range"),
        ({"type": "Sequence", "steps": []}, ".steps: expected a list of at least one"),
        ({"type": "Mark"}, ": Mark: needs `label` or `level`"),
    ],
)
def test_a_mistake_in_a_value_is_told_with_its_key(
    degraded: Callable[[Any], Path], degradation: Any, said: str
) -> None:
    assert f": {KEY}{said}" in problem_of(degraded(degradation))


def test_a_mistake_in_a_value_is_told_with_its_line(degraded: Callable[[Any], Path]) -> None:
    file = degraded({"type": "Sequence", "steps": [{"type": "Haze"}, noise([50, 5])]})
    line = next(i for i, text in enumerate(file.read_text().splitlines(), 1) if "sigma" in text)
    assert problem_of(file).startswith(f"{file.resolve()}:{line}: {KEY}.steps.1.sigma")


def test_what_files_hold_is_checked_only_where_they_are(degraded: Callable[[Any], Path], tmp_path: Path) -> None:
    """An option file is written where the data are not, too."""
    haze = {"type": "Haze", "depth": str(tmp_path / "depth.npy")}
    problem = problem_of(degraded({"type": "Sequence", "steps": [haze, noise([9, 5])]}))
    assert ".steps.1.sigma: the range" in problem
    file = degraded({"type": "Sequence", "steps": [haze, noise(5)]})
    assert load_options(file).options.datasets
    np.save(tmp_path / "depth.npy", np.full((4, 4), 7.0))
    assert ".steps.0.depth: " in problem_of(file)


def test_every_file_of_a_list_starts_at_the_root(degraded: Callable[[Any], Path]) -> None:
    file = degraded({"type": "SpatiallyVaryingBlur", "masks": ["masks/a.png", "masks/b.png"]})
    loaded: OptionFile = load_options(file)
    masks = loaded.raw["datasets"]["train"]["degradation"]["masks"]
    assert masks == [str(loaded.root / "masks" / name) for name in ("a.png", "b.png")]


# --- recipes of probes ---


@pytest.mark.parametrize(
    ("recipe", "line", "said"),
    [
        ("type: Sequence\nsteps:\n  - {type: Haze}\n  - {type: GaussianNoise, sigma: [9, 5]}\n", 4, "steps.1.sigma:"),
        ("haze: {type: Haze}\nnoise:\n  type: GaussianNoise\n  sigma: [50, 5]\n", 4, "noise.sigma: the range [50, 5]"),
        ("scale: 1\nsubsets:\n  a: {type: Haze}\n  b: {type: Hase}\n", 4, "subsets.b.type: "),
        ("- {type: Haze}\n", None, "expected a mapping"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_probe_s_recipe_is_told_with_its_line(
    write_options: Write, pair_folders: Path, recipe: str, line: int | None, said: str
) -> None:
    probe = {"images": str(pair_folders / "gt"), "recipe": "mine.yml"}
    file = write_options({"val.probes": {"knn": probe}})
    held = file.parents[1] / "mine.yml"
    held.write_text(recipe)
    problem = problem_of(file)
    assert said in problem
    assert line is None or problem.startswith(f"{held}:{line}: ")


def test_a_recipe_that_is_not_there_is_told(write_options: Write, pair_folders: Path) -> None:
    probe = {"images": str(pair_folders / "gt"), "recipe": "none.yml"}
    assert "val.probes.knn.recipe: " in problem_of(write_options({"val.probes": {"knn": probe}}))


@pytest.mark.parametrize("file", sorted((ROOT / "options" / "degradation").glob("*.yml")), ids=lambda file: file.stem)
def test_the_recipes_that_come_with_the_project_have_none(file: Path) -> None:
    assert recipe_problems(file, ROOT) == []
