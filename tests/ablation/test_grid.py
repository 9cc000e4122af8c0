"""Ablation files: cells, references, and the mistakes in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from uir.ablation.grid import read_ablation
from uir.ablation.runner import job_environment
from uir.ablation.runs import Run, plan_runs, smoke_test_of
from uir.config.options import OptionError

Write = Callable[..., Path]
GRID = {
    "width": {"narrow": None, "wide": {"network_g": {"width": 8}, "train:optim_g:lr": 2e-3}},
    "loss": {"l1": None, "mse": {"train": {"pixel_opt": {"type": "MSELoss"}}}},
}


def names(file: Path) -> list[str]:
    return [cell.name for cell in read_ablation(file).cells]


def mistakes(file: Path) -> str:
    with pytest.raises(OptionError) as caught:
        plan_runs(read_ablation(file), file.parents[1])
    return str(caught.value)


def test_a_cell_has_the_overrides_of_its_value_on_each_axis(write_ablation: Write) -> None:
    file = write_ablation({"grid": GRID, "seeds": [1]})
    assert names(file) == ["narrow-l1", "narrow-mse", "wide-l1", "wide-mse"]
    first, *_, last = plan_runs(read_ablation(file), file.parents[1]).runs
    train = last.options["train"]
    assert (train["network_g"]["width"], train["train"]["optim_g"]["lr"]) == (8, 2e-3)
    assert train["train"]["pixel_opt"]["type"] == "MSELoss"
    assert first.options["train"]["train"]["pixel_opt"]["type"] == "L1Loss"
    assert train["manual_seed"] == 1


def test_seeds_differ_in_the_seed_alone(write_ablation: Write) -> None:
    file = write_ablation({"seeds": [4, 9], "grid": {"width": {"one": None}}, "reference": None})
    one, other = (dict(run.options["train"]) for run in plan_runs(read_ablation(file), file.parents[1]).runs)
    assert (one.pop("manual_seed"), other.pop("manual_seed")) == (4, 9)
    for options in (one, other):
        del options["name"], options["path"]["experiments_root"]
    assert one == other


def test_a_run_counts_the_images_that_each_stage_learns_from(write_ablation: Write) -> None:
    stages = [{"name": "a", "iterations": 3}, {"name": "b", "iterations": 2, "accumulate": 2}]
    base = {"train.total_iter": None, "train.stages": stages, "datasets.train.batch_size_per_gpu": 5}
    file = write_ablation({"seeds": [1], "grid": {"width": {"one": None}}, "reference": None}, base)
    (run,) = plan_runs(read_ablation(file), file.parents[1]).runs
    assert run.stages == ((3, 5), (2, 10))
    assert [run.samples(iterations) for iterations in (2, 3, 4, 5)] == [10, 15, 25, 35]


def test_null_deletes_a_key_of_the_base_file(write_ablation: Write) -> None:
    grid = {"width": {"fixed": {"train": {"scheduler": None}}}}
    base = {"train.scheduler": {"type": "MultiStepLR", "milestones": [2]}}
    file = write_ablation({"grid": grid, "reference": None}, base)
    assert "scheduler" not in plan_runs(read_ablation(file), file.parents[1]).runs[0].options["train"]["train"]


def test_an_ablation_inherits_from_another_one(write_ablation: Write, tmp_path: Path) -> None:
    file = write_ablation({"grid": GRID, "seeds": [1, 2]})
    child = tmp_path / "child.yml"  # in another folder: each path is relative to the file that names it
    child.write_text(
        f"base: {file}\nname: child\nseeds: [5]\ngrid: {{loss: {{mse: ~, l1: {{train: {{ema_decay: 0.5}}}}}}}}\n"
    )
    assert names(child) == ["narrow-l1", "wide-l1"]
    plan = plan_runs(read_ablation(child), file.parents[1])
    assert (plan.ablation.name, plan.ablation.base) == ("child", file.with_name("base.yml").resolve())
    assert plan.ablation.reference == {"width": "narrow"}
    assert [(run.seed, run.options["train"]["train"]["ema_decay"]) for run in plan.runs] == [(5, 0.5)] * 2


def test_a_mistake_in_an_inherited_ablation_is_reported_in_its_own_file(write_ablation: Write, tmp_path: Path) -> None:
    file = write_ablation({"seeds": "one"})
    (tmp_path / "child.yml").write_text(f"base: {file}\nname: child\n")
    with pytest.raises(OptionError, match=rf"{file}:\d+: seeds: expected a list"):
        read_ablation(tmp_path / "child.yml")


def test_ablations_that_inherit_from_each_other_are_refused(write_ablation: Write) -> None:
    file = write_ablation({"base": "other.yml"})
    file.with_name("other.yml").write_text(f"base: {file.name}\ngrid: {{a: {{b: ~}}}}\n")
    with pytest.raises(OptionError, match=r"circle: ablation\.yml -> other\.yml -> ablation\.yml"):
        read_ablation(file)


def test_the_command_line_overrides_every_cell(write_ablation: Write) -> None:
    file = write_ablation({"grid": GRID, "seeds": [1]})
    plan = plan_runs(read_ablation(file), file.parents[1], ["train:optim_g:lr=0.25", "train:total_iter=7"])
    assert {run.options["train"]["train"]["optim_g"]["lr"] for run in plan.runs} == {0.25}
    assert {run.iterations for run in plan.runs} == {7}
    with pytest.raises(OptionError, match="--force_yml name=x: is set by the ablation"):
        plan_runs(read_ablation(file), file.parents[1], ["name=x"])


def test_a_smoke_test_has_one_seed_and_two_iterations_in_each_stage(write_ablation: Write) -> None:
    stages = [{"name": "one", "iterations": 500}, {"name": "two", "iterations": 300}]
    grid = {
        "length": {"whole": {"train": {"total_iter": 900}}, "staged": {"train": {"total_iter": None, "stages": stages}}}
    }
    file = write_ablation({"grid": grid, "reference": None})
    plan = plan_runs(smoke_test_of(read_ablation(file)), file.parents[1])
    assert [(run.cell, run.seed, run.iterations) for run in plan.runs] == [("whole", 1, 2), ("staged", 1, 4)]
    assert plan.folder.name == "small_smoke"


def test_excluded_cells_are_left_out(write_ablation: Write) -> None:
    file = write_ablation({"grid": GRID, "exclude": [{"width": ["wide"], "loss": "mse"}]})
    assert names(file) == ["narrow-l1", "narrow-mse", "wide-l1"]


def test_cells_named_by_numbers_are_excluded_and_referenced(write_ablation: Write) -> None:
    axes = {"width": {8: None, 16: None, 32: None}, "loss": {"l1": None}}
    for reference in (8, {"width": 8}):
        changes = {"grid": axes, "reference": reference, "exclude": [{"width": 16}, {"width": [16, 16]}]}
        ablation = read_ablation(write_ablation(changes))
        assert [cell.name for cell in ablation.cells] == ["8-l1", "32-l1"]
        assert ablation.reference_of(ablation.cells[1]) == "8-l1"


def test_differences_are_taken_within_the_other_axes(write_ablation: Write) -> None:
    ablation = read_ablation(write_ablation({"grid": GRID, "reference": {"width": "narrow"}}))
    assert [ablation.reference_of(cell) for cell in ablation.cells] == [None, None, "narrow-l1", "narrow-mse"]
    assert [ablation.group_of(cell) for cell in ablation.cells] == ["narrow-l1", "narrow-mse"] * 2


def test_other_options_give_another_fingerprint_and_other_seeds_do_not_change_it(write_ablation: Write) -> None:
    def prints(changes: dict[str, Any], base: dict[str, Any] | None = None) -> list[str]:
        file = write_ablation(changes, base)
        return [run.fingerprint("train") for run in plan_runs(read_ablation(file), file.parents[1]).runs]

    two = prints({"seeds": [1, 2]})
    assert len(set(two)) == 4
    assert prints({"seeds": [2, 1]}) == [two[2], two[3], two[0], two[1]]  # all cells of a seed, then the next seed
    assert not set(prints({"seeds": [1, 2]}, {"train.total_iter": 5})) & set(two)


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    run = Run("one", 1, tmp_path, {"train": {"lr": 1}, "test": {"metric": "psnr"}}, ((4, 1),))
    run.begin()
    for step in run.options:
        run.note_done(step, {})
    assert run.is_finished()
    return run


def test_another_test_leaves_the_training_done(finished: Run) -> None:
    other = replace(finished, options={**finished.options, "test": {"metric": "ssim"}})
    assert other.done() == ["train"]
    assert other.has_begun()
    assert replace(finished, options={"train": {"lr": 1}}).is_finished()


def test_a_test_that_another_one_has_replaced_is_not_done(finished: Run) -> None:
    replace(finished, options={**finished.options, "test": {"metric": "ssim"}}).begin()
    assert finished.done() == ["train"]


def test_another_training_needs_the_test_again(finished: Run) -> None:
    other = replace(finished, options={**finished.options, "train": {"lr": 2}})
    assert other.done() == []
    assert not other.has_begun()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": [1]}, "ablation.yml:13: seed is not a key of an ablation file; did you mean seeds?"),
        ({"seeds": 3}, "seeds: expected a list of different whole numbers from 0, such as [1, 2, 3], got 3"),
        ({"seeds": [1, 1]}, "expected a list of different whole numbers"),
        ({"base": "nowhere.yml"}, "base: there is no file"),
        ({"base": None}, "base is missing; expected the path of an option file"),
        ({"name": "a/b"}, "name: expected a name of letters"),
        ({"grid": {"width": []}}, "grid.width: expected named cells"),
        ({"grid": {"width": {"a b": None}}}, "grid.width.a b: a cell's name is also the name of a folder"),
        ({"grid": {"width": {"narrow": {"name": "x"}}}}, "grid.width.narrow.name is set by the ablation"),
        ({"reference": "narow"}, "reference: 'narow' is no cell of an axis; did you mean narrow?"),
        ({"reference": {"widht": "narrow"}}, "reference.widht is not an axis of the grid; did you mean width?"),
        ({"exclude": [{"width": "huge"}]}, "exclude.0.width: 'huge' is not one of narrow, wide"),
        ({"reference": 3}, "reference: '3' is no cell of an axis"),
        ({"reference": ["wide"]}, "reference: expected the name of a cell or {axis: value}, got ['wide']"),
        (
            {"reference": {"width": ["wide"]}},
            "ablation.yml:13: reference.width: expected the name of a cell, got ['wide']",
        ),
        (
            {"exclude": [{"width": [["wide"]]}]},
            "ablation.yml:14: exclude.0.width: expected the name of a cell, got ['wide']",
        ),
        ({"name": ".."}, "name: expected a name of letters, digits"),
        ({"grid": {"width": {"..": None}}}, "grid.width...: a cell's name is also the name of a folder"),
        ({"exclude": [["wide"]]}, "exclude.0: expected {axis: value or [values]}, got ['wide']"),
        (
            {"grid": {"width": {16: {"path": 3}}}, "reference": None},
            "ablation.yml:6: grid.width.16.path: expected a mapping, got 3",
        ),
        ({"exclude": [{"width": ["narrow", "wide"]}]}, "exclude: no cell is left"),
        ({"exclude": [{"width": "narrow"}]}, "reference: every cell with width: narrow is excluded"),
        ({"metric": "psrn"}, "metric: 'psrn' is not in val.metrics; did you mean psnr?"),
        (
            {"grid": {"a": {"x": None, "x-y": None}, "b": {"y-z": None, "z": None}}, "reference": None},
            "two cells have the name 'x-y-z'",
        ),
        (
            {"grid": {"width": {"narrow": {"train": {"optim_g": {"lrr": 1}}}}}},
            "ablation.yml: cell 'narrow': train.optim_g.lrr is not an argument of Adam; did you mean lr?",
        ),
        (
            {"grid": {"width": {"narrow": {"train:optm_g:lr": 1}}}},
            "cell 'narrow': --force_yml train:optm_g:lr=1: train.optm_g is not an option",
        ),
        (
            {"grid": {"width": {"narrow": {"train:total_iter": date(2024, 1, 1)}}}},
            ": train.total_iter: expected a whole number, got '2024-01-01'",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_named(write_ablation: Write, changes: dict[str, Any], message: str) -> None:
    assert message in mistakes(write_ablation(changes))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("plugins: 3", "tested by {file}: plugins: expected a list, got 3"),
        ("3: 4", "tested by {file}: 3 is not an option"),
    ],
)
def test_a_mistake_of_the_test_file_is_named(write_ablation: Write, line: str, message: str) -> None:
    file = write_ablation({"test": "test.yml"})
    test = file.with_name("test.yml")
    test.write_text(f"{line}\n")
    assert message.format(file=test) in mistakes(file)


def test_a_mistake_of_the_base_file_is_told_once_with_its_line(write_ablation: Write) -> None:
    said = mistakes(write_ablation({}, {"train.optim_g": {"type": "Adam", "lrr": 1e-3}}))
    assert said.count("lrr") == 1
    assert "base.yml:" in said


def test_a_grid_that_measures_nothing_is_refused(write_ablation: Write) -> None:
    assert "cell 'narrow' measures nothing" in mistakes(write_ablation({}, {"datasets.val": None}))


def test_jobs_share_the_cores_and_take_turns_on_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert job_environment(0, 1)["OMP_NUM_THREADS"] == "8"
    assert job_environment(0, 3)["OMP_NUM_THREADS"] == "2"
    assert job_environment(0, 20)["OMP_NUM_THREADS"] == "1"
    assert [job_environment(slot, 4, ["0", "1"])["CUDA_VISIBLE_DEVICES"] for slot in range(4)] == ["0", "1", "0", "1"]
    assert "CUDA_VISIBLE_DEVICES" not in job_environment(0, 4, ["0"])
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert job_environment(0, 2)["OMP_NUM_THREADS"] == "3"


def test_names_are_the_text_in_the_file(write_ablation: Write) -> None:
    file = write_ablation({"name": "N", "grid": {"W": {"A": None, "B": None}}, "reference": "A", "exclude": []})
    text = file.read_text().replace("name: N", "name: 001").replace("W:", "2024_05_01:")
    text = text.replace("A:", "1e3:").replace("B:", "12_30:").replace("reference: A", "reference: 1e3")
    file.write_text(text.replace("exclude: []", "exclude: [{2024_05_01: 12_30}]"))
    ablation = read_ablation(file)
    assert (ablation.name, ablation.reference) == ("001", {"2024_05_01": "1e3"})
    assert names(file) == ["1e3"]
    assert plan_runs(ablation, file.parents[1]).runs[0].options["train"]["name"] == "001_1e3_seed1"
