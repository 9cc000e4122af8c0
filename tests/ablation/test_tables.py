"""Tables from measurements that are known."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from uir.ablation.charts import write_charts
from uir.ablation.costs import Cost
from uir.ablation.grid import Ablation, Cell
from uir.ablation.history import History, Results, read_clock, read_history
from uir.ablation.runs import Plan, Run
from uir.ablation.statistics import interval
from uir.ablation.tables import as_json, as_markdown, make_tables

HALF_WIDTH = {2: 12.706204736174694, 3: 4.302652729749462}  # t(0.975, n - 1)


def history(values: dict[int, float], seconds_each: float) -> History:
    """Two sets, haze and rain 2 dB above it, validated at some iterations."""
    validations = {at: {"haze": {"psnr": value}, "rain": {"psnr": value + 2}} for at, value in values.items()}
    last = max(validations)
    clock = {at: at * seconds_each for at in range(10, last + 1, 10)}
    return History(validations, validations[last], clock)


def test_a_test_with_equal_images_is_read_as_infinite(tmp_path: Path) -> None:
    (tmp_path / "test" / "t").mkdir(parents=True)
    sets = [{"dataset": "haze", "results": {"psnr": "Infinity"}, "inputs": {"psnr": 11.5}}]
    (tmp_path / "test" / "t" / "metrics.json").write_text(json.dumps({"datasets": sets}))
    run = Run("scratch", 1, tmp_path, {"train": {"name": "t"}, "test": {"name": "t"}}, ((40, 1),))
    read = read_history(run)
    assert (read.final, read.inputs) == ({"haze": {"psnr": math.inf}}, {"haze": {"psnr": 11.5}})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    cells = tuple(Cell(name, {"method": name}, {}) for name in ("scratch", "dcpt"))
    ablation = Ablation("a", tmp_path / "a.yml", tmp_path / "b.yml", cells, (1, 2), (), {"method": "scratch"})
    runs = tuple(Run(cell.name, seed, tmp_path, {}, ((30, 4), (10, 8))) for cell in cells for seed in (1, 2))
    return Plan(ablation, tmp_path, tmp_path, runs, {"psnr": {"description": "PSNR (RGB)", "better": "higher"}})


@pytest.fixture
def histories() -> dict[str, dict[int, History]]:
    return {
        "scratch": {1: history({20: 18, 40: 20}, 0.1), 2: history({20: 18, 40: 22}, 0.1)},
        "dcpt": {1: history({20: 19, 40: 23}, 0.15), 2: history({20: 19, 40: 24}, 0.25)},
    }


def test_means_and_differences_after_all_iterations(plan: Plan, histories: dict[str, dict[int, History]]) -> None:
    end, _ = make_tables(plan, histories)
    scratch, dcpt = end.rows
    assert end.columns == ["haze", "rain", "mean"]
    assert {name: found.mean for name, found in scratch.results.items()} == {"haze": 21, "rain": 23, "mean": 22}
    assert scratch.results["haze"].half_width == pytest.approx(HALF_WIDTH[2])  # s/√n is 1
    assert dcpt.differences["mean"] == interval([3, 2])
    assert dcpt.differences["mean"].half_width == pytest.approx(HALF_WIDTH[2] / 2)
    assert scratch.differences == {}
    assert (dcpt.iterations, dcpt.samples, dcpt.seconds) == (40, 30 * 4 + 10 * 8, pytest.approx(8))


def test_at_equal_time_each_seed_has_the_fastest_cell_s_budget(
    plan: Plan, histories: dict[str, dict[int, History]]
) -> None:
    _, table = make_tables(plan, histories)  # scratch takes 4 s: dcpt has done 26 iterations of seed 1, 16 of seed 2
    scratch, dcpt = table.rows
    assert scratch.values["haze"] == {1: 20, 2: 22}
    assert dcpt.values["haze"] == {1: 19}
    assert dcpt.differences["haze"] == interval([-1])
    assert (dcpt.iterations, dcpt.samples, dcpt.seconds) == (20, 80, pytest.approx(3))


def test_cells_that_are_not_compared_have_budgets_of_their_own(
    tmp_path: Path, histories: dict[str, dict[int, History]]
) -> None:
    cells = (
        Cell("scratch", {"method": "scratch", "net": "small"}, {}),
        Cell("dcpt", {"method": "scratch", "net": "large"}, {}),
    )
    ablation = Ablation("a", tmp_path, tmp_path, cells, (1, 2), (), {"method": "scratch"})
    runs = tuple(Run(cell.name, seed, tmp_path, {}, ((30, 4), (10, 8))) for cell in cells for seed in (1, 2))
    plan = Plan(ablation, tmp_path, tmp_path, runs, {"psnr": {"description": "PSNR", "better": "higher"}})
    end, equal_time = make_tables(plan, histories)
    assert [row.values for row in equal_time.rows] == [row.values for row in end.rows]


def test_without_times_there_is_no_table_at_equal_time(plan: Plan, histories: dict[str, dict[int, History]]) -> None:
    blind = History(histories["dcpt"][1].validations, histories["dcpt"][1].final, {})
    tables = make_tables(plan, {"scratch": histories["scratch"], "dcpt": {1: blind, 2: blind}})
    assert [table.at for table in tables] == ["end"]
    assert tables[0].rows[1].seconds is None


def test_a_page_shows_what_is_sure_in_bold(plan: Plan, histories: dict[str, dict[int, History]]) -> None:
    histories["dcpt"][2] = history({20: 19, 40: 24.9}, 0.2)
    page = as_markdown(plan, make_tables(plan, histories), ["dcpt seed 3"])
    assert "| dcpt minus scratch | 2 | **+2.950 ± 0.635** | **+2.950 ± 0.635** | **+2.950 ± 0.635** |" in page
    assert "| scratch | 2 | 21.000 ± 12.706 |" in page
    assert "**Not finished and not counted:** dcpt seed 3." in page


def test_unequal_networks_look_unequal_and_the_degraded_input_has_a_row(
    plan: Plan, histories: dict[str, dict[int, History]]
) -> None:
    inputs = {"haze": {"psnr": 11.0}, "rain": {"psnr": 17.0}}
    measured = {
        cell: {seed: replace(one, inputs=inputs) for seed, one in runs.items()} for cell, runs in histories.items()
    }
    costs = {"scratch": Cost(1234567, 2_500_000_000, 3.456), "dcpt": Cost(765, None)}
    page = as_markdown(plan, make_tables(plan, measured, costs), [])
    costs_head = "parameters | MACs (64×64) | CPU s per MP | iterations | samples | training s |"
    assert f"| cell | seeds | haze | rain | mean | {costs_head}" in page
    assert "| degraded input |  | 11.000 | 17.000 | 14.000 |  |  |  |  |  |  |" in page
    assert "| 1,234,567 | 2.5 G | 3.46 | 40 | 200 | 4 |" in page
    assert "| 765 |  |  | 40 | 200 | 8 |" in page


def test_several_metrics_stand_in_one_table_with_the_costs(
    plan: Plan, histories: dict[str, dict[int, History]]
) -> None:
    def with_both(one: History) -> History:
        final = {name: {**metrics, "ssim": metrics["psnr"] / 50} for name, metrics in one.final.items()}
        return replace(one, validations={40: final}, final=final)

    measured = {cell: {seed: with_both(one) for seed, one in runs.items()} for cell, runs in histories.items()}
    both = replace(plan, metrics={**plan.metrics, "ssim": {"description": "SSIM", "better": "higher"}})
    costs = {"scratch": Cost(1234567, 2_500_000_000, 3.456), "dcpt": None}
    page = as_markdown(both, make_tables(both, measured, costs), [])
    overview = page.partition("## All metrics, after all iterations")[2].partition("\n## ")[0]
    costs_head = "parameters | MACs (64×64) | CPU s per MP | iterations | samples | training s |"
    assert f"| cell | seeds | psnr | ssim | {costs_head}" in overview
    assert "| scratch | 2 | 22.000 ± 12.706 | 0.4400 ± 0.2541 | 1,234,567 | 2.5 G | 3.46 | 40 | 200 | 4 |" in overview
    assert "All metrics" not in as_markdown(plan, make_tables(plan, histories), [])


def test_inputs_that_differ_from_cell_to_cell_have_no_row(plan: Plan, histories: dict[str, dict[int, History]]) -> None:
    measured = {
        cell: {seed: replace(one, inputs={"haze": {"psnr": value}}) for seed, one in histories[cell].items()}
        for cell, value in (("scratch", 11.0), ("dcpt", 12.0))
    }
    assert "degraded input" not in as_markdown(plan, make_tables(plan, measured), [])


def test_json_holds_every_seed_s_value(plan: Plan, histories: dict[str, dict[int, History]]) -> None:
    content = json.loads(as_json(plan, make_tables(plan, histories), []))
    assert content["tables"][0]["rows"][1]["values"]["rain"] == {"1": 25, "2": 26}
    assert content["reference"] == {"method": "scratch"}


@pytest.fixture
def saved_figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved during the test."""
    figure = pytest.importorskip("matplotlib.figure")
    figures: list[Any] = []
    save = figure.Figure.savefig
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    return figures


@pytest.mark.thorough
def test_each_bar_has_its_cell_s_name_beside_it(
    plan: Plan, histories: dict[str, dict[int, History]], tmp_path: Path, saved_figures: list[Any]
) -> None:
    write_charts(tmp_path, make_tables(plan, histories), histories)
    results, differences = saved_figures[0].axes[0], saved_figures[0].axes[3]
    for axis in (results, differences):
        places = dict(zip([label.get_text() for label in axis.get_yticklabels()], axis.get_yticks(), strict=True))
        assert list(places) == ["scratch", "dcpt"]
        bars = [bar.get_y() + bar.get_height() / 2 for bar in axis.patches]
        assert set(bars) <= set(places.values())
    assert "21.000" in [text.get_text() for text in results.texts]


@pytest.mark.thorough
def test_curves_have_whole_iterations_and_a_legend(
    plan: Plan, histories: dict[str, dict[int, History]], tmp_path: Path, saved_figures: list[Any]
) -> None:
    write_charts(tmp_path, make_tables(plan, histories), histories)
    curves = saved_figures[1]
    assert all(tick == round(tick) for tick in curves.axes[0].get_xticks())
    assert [text.get_text() for text in curves.legends[0].get_texts()] == ["scratch", "dcpt"]


@pytest.mark.thorough
def test_charts_are_drawn(plan: Plan, histories: dict[str, dict[int, History]], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    files = write_charts(tmp_path, make_tables(plan, histories), histories)
    assert [file.name for file in files] == ["bars_psnr.png", "curves_psnr.png"]
    assert all(file.read_bytes()[:4] == b"\x89PNG" for file in files)


@pytest.mark.thorough
def test_three_sets_have_a_radar_of_all_cells(
    plan: Plan, histories: dict[str, dict[int, History]], tmp_path: Path, saved_figures: list[Any]
) -> None:
    def with_snow(results: Results) -> Results:
        return {**results, "snow": {"psnr": 30.0}}

    wide = {
        cell: {seed: replace(one, final=with_snow(one.final)) for seed, one in runs.items()}
        for cell, runs in histories.items()
    }
    files = write_charts(tmp_path, make_tables(plan, wide), wide)
    assert [file.name for file in files] == ["bars_psnr.png", "curves_psnr.png", "radar_psnr.png"]
    lines = {line.get_label(): list(line.get_ydata()) for line in saved_figures[2].axes[0].lines}
    means = {cell: [sum(run.final[name]["psnr"] for run in runs.values()) / 2 for name in ("haze", "rain", "snow")]
             for cell, runs in wide.items()}  # fmt: skip
    assert lines == {cell: [*values, values[0]] for cell, values in means.items()}


def test_seconds_between_and_behind_timed_iterations_are_in_proportion() -> None:
    held = History({}, {}, {10: 1.0, 20: 4.0})
    assert [held.seconds(iteration) for iteration in (0, 5, 10, 15, 20, 30)] == [0, 0.5, 1, 2.5, 4, 7]


def test_the_clock_counts_a_resumed_iteration_once(tmp_path: Path) -> None:
    line = "2026-01-01 00:00:00,000 INFO: [run..][epoch:  0, iter: {:>8s}, lr:(1.0e-03,)] [eta: 0:00:01, time (data): {:.3f} (0.010)] l_pix: 1.0e-01"  # noqa: E501
    (tmp_path / "train_run_1.log").write_text("\n".join([line.format("500", 0.1), line.format("1,000", 0.2)]))
    (tmp_path / "train_run_2.log").write_text("\n".join([line.format("1,000", 0.3), line.format("1,500", 0.1)]))
    os.utime(tmp_path / "train_run_1.log", (1, 1))
    assert read_clock(tmp_path) == pytest.approx({500: 50, 1000: 200, 1500: 250})
