"""`uir test --protocol`: one table for each protocol, its noise, intervals, and the files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from scipy.stats import bootstrap

from uir.cli import main
from uir.config.options import OptionError, load_options
from uir.engine.evaluation import Evaluation
from uir.engine.intervals import add_intervals, interval, resampled
from uir.engine.protocol_runs import Measurement
from uir.engine.tables import as_csv, as_latex, as_markdown, json_text, print_tables, result_tables
from uir.engine.testing import test as run_test
from uir.metrics import build_metric, protocol_named, psnr
from uir.registry import METRIC_REGISTRY

Write = Callable[..., Path]
NOISE = {"type": "GaussianNoise", "sigma": 50}


def noisy(folder: Path, degradation: dict[str, Any]) -> dict[str, Any]:
    return {"type": "DegradedImageDataset", "dataroot_gt": str(folder / "gt"), "degradation": degradation}


def file_of(folder: Path, datasets: dict[str, Any], scale: int = 1, **val: Any) -> Path:
    options = {
        "name": "protocols", "model_type": "SRModel", "scale": scale, "num_gpu": 0, "datasets": datasets,
        "network_g": {"type": "Identity"} if scale == 1 else {"type": "Bicubic", "scale": scale}, "val": val,
    }  # fmt: skip
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump(options))
    return file


def run(file: Path) -> tuple[list[Evaluation], Path]:
    loaded = load_options(file, is_train=False)
    return run_test(loaded, quiet=True), Path(loaded.run_dir)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Registers a metric as a plugin would, for one test."""
    copies = {key: dict(names) for key, names in METRIC_REGISTRY._objects.items()}
    monkeypatch.setattr(METRIC_REGISTRY, "_objects", copies)

    def register(target: Any) -> Any:
        target.__module__ = "my_plugin"
        return METRIC_REGISTRY.register(target)

    return register


@pytest.mark.thorough
def test_each_protocol_measures_its_own_noise(pair_folders: Path, tmp_path: Path) -> None:
    file = file_of(tmp_path, {"test": noisy(pair_folders, NOISE)}, protocols=["dcpt", "maskdcpt", "promptir"])
    (found,), _ = run(file)
    by_hand = {}
    for row in found.per_image:
        bgr = cv2.imread(row["lq_path"]).astype(np.float32) / 255
        np.random.seed(0)
        published = bgr + np.random.normal(0, 50 / 255, bgr.shape)
        gt, restored = (torch.from_numpy(each).permute(2, 0, 1).flip(0) for each in (bgr, published))
        by_hand[row["lq_path"]] = psnr(restored, gt.double(), protocol="dcpt").item()
        clipped = psnr(restored, gt.double(), protocol="maskdcpt").item()
        assert row["metrics"]["dcpt/psnr"] == pytest.approx(by_hand[row["lq_path"]], abs=1e-3)
        assert row["metrics"]["maskdcpt/psnr"] == pytest.approx(clipped, abs=1e-3)
        assert abs(row["metrics"]["promptir/psnr"] - clipped) > 1e-3
    assert found.results["dcpt/psnr"] == pytest.approx(np.mean(list(by_hand.values())), abs=1e-3)


@pytest.mark.thorough
def test_images_are_restored_once_where_protocols_need_no_noise(
    pair_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uir.models.sr_model import SRModel

    calls: list[int] = []
    predict = SRModel.predict

    def counting(self: SRModel, *arguments: Any) -> Any:
        calls.append(1)
        return predict(self, *arguments)

    monkeypatch.setattr(SRModel, "predict", counting)
    data = {"test": noisy(pair_folders, {"type": "MotionBlur"})}
    (found,), _ = run(file_of(tmp_path, data, protocols=["dcpt", "promptir", "restormer_y"]))
    assert len(calls) == found.images == 6


def test_noise_that_cannot_be_made_as_the_protocol_says_is_named(
    pair_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = {"type": "Sequence", "steps": [{"type": "MotionBlur"}, NOISE]}
    run(file_of(tmp_path, {"test": {**noisy(pair_folders, mixed), "name": "mixed"}}, protocols=["promptir"]))
    shown = capsys.readouterr()
    assert "mixed: protocol promptir: the noise of this set is not rounded to 8 bits, but that" in shown.out + shown.err


@pytest.mark.parametrize(("protocol", "is_said"), [("promptir", True), ("maskdcpt", False)])
def test_a_metric_that_names_a_protocol_says_where_the_noise_is_another(
    protocol: str, is_said: bool, pair_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = {"psnr": {"type": "PSNR", "protocol": protocol}}
    run(file_of(tmp_path, {"test": noisy(pair_folders, NOISE)}, metrics=metrics))
    shown = capsys.readouterr()
    assert ("the noise of this set is not rounded to 8 bits" in shown.out + shown.err) == is_said


def test_the_border_of_super_resolution_is_the_file_s_scale(pair_folders: Path, tmp_path: Path) -> None:
    data = {"test": noisy(pair_folders, {"type": "Bicubic", "scale": 2})}
    data["test"]["degradation"] = {"type": "dasr_wang_iso", "scale": 2, "sigma": 0}
    _, folder = run(file_of(tmp_path, data, scale=2, protocols=["sr_y"]))
    assert "PSNR (Y, border 2, uint8, protocol basicsr_y)" in (folder / "metrics.md").read_text()


@pytest.mark.thorough
def test_the_files_hold_every_table(pair_folders: Path, tmp_path: Path) -> None:
    data = {f"test_{name}": {**noisy(pair_folders, NOISE), "name": name} for name in ("one_a", "two")}
    found, folder = run(file_of(tmp_path, data, protocols=["dcpt", "restormer_y"]))
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert len(rows) == 2 * 3 * 2  # protocols, sets and their mean, metrics
    first = rows[0]
    assert (first["protocol"], first["dataset"], first["images"], first["metric"]) == ("dcpt", "one_a", "6", "psnr")
    low, high = found[0].intervals["dcpt/psnr"]
    assert float(first["low"]) == low < float(first["value"]) < high == float(first["high"])
    content = json.loads((folder / "metrics.json").read_text())
    assert [table["protocol"] for table in content["tables"]] == ["dcpt", "restormer_y"]
    assert content["datasets"][0]["results"]["dcpt/psnr"] == found[0].results["dcpt/psnr"]
    assert "## Protocol restormer_y" in (folder / "metrics.md").read_text()
    latex = (folder / "metrics.tex").read_text()
    assert "one\\_a & 6 & " in latex
    assert latex.count("\\begin{tabular}{lrrr}") == latex.count("\\end{tabular}") == 2


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("form", "start"), [("markdown", "## Protocol dcpt"), ("csv", "protocol,dataset"), ("latex", "%")]
)
def test_the_command_prints_a_form(
    form: str, start: str, pair_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = file_of(tmp_path, {"test": noisy(pair_folders, NOISE)})
    with pytest.raises(SystemExit) as stop:
        main(["test", "-opt", str(file), "--protocol", "dcpt", "--protocol", "maskdcpt", "--format", form])
    assert not stop.value.code
    assert capsys.readouterr().out.startswith(start)


def test_an_unknown_protocol_is_an_error_with_the_nearest_name(pair_folders: Path, tmp_path: Path) -> None:
    file = file_of(tmp_path, {"test": noisy(pair_folders, NOISE)}, protocols=["prompt_ir"])
    with pytest.raises(OptionError, match=r"val\.protocols.*`uir list protocols` \(nearest: promptir.*got 'prompt_ir'"):
        load_options(file, is_train=False)


def test_a_model_that_measures_by_itself_takes_no_protocols(basicsr: Any, pair_folders: Path, tmp_path: Path) -> None:
    file = file_of(tmp_path, {"test": noisy(pair_folders, NOISE)}, protocols=["dcpt"])
    file.write_text(file.read_text().replace("model_type: SRModel", "model_type: basicsr:SRModel"))
    with pytest.raises(ValueError, match="is written like BasicSR's models and measures by itself; protocols need"):
        run(file)


def test_a_term_that_cannot_be_measured_is_named_and_the_others_are_measured(
    pair_folders: Path, tmp_path: Path, registered: Callable[[Any], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    class LPIPS:
        better = "lower"

        def __call__(self, restored: Any, gt: Any) -> Any:
            raise ImportError("LPIPS needs the package lpips: pip install lpips")

    registered(LPIPS)
    (found,), folder = run(file_of(tmp_path, {"test": noisy(pair_folders, NOISE)}, protocols=["raim2026_hdr"]))
    assert set(found.results) == {"raim2026_hdr/psnr", "raim2026_hdr/ssim"}
    reason = "term 'lpips' cannot be measured: LPIPS needs the package lpips: pip install lpips"
    assert reason in (folder / "metrics.md").read_text()
    shown = capsys.readouterr()
    assert "protocol raim2026_hdr: there is no score without lpips" in shown.out + shown.err


def test_a_score_is_measured_with_its_terms_and_shares_them(
    pair_folders: Path, tmp_path: Path, registered: Callable[[Any], Any]
) -> None:
    calls: list[int] = []

    class LPIPS:
        better = "lower"

        def __call__(self, restored: Any, gt: Any) -> Any:
            calls.append(1)
            return (restored - gt).abs().mean()

    registered(LPIPS)
    (found,), _ = run(file_of(tmp_path, {"test": noisy(pair_folders, NOISE)}, protocols=["raim2026_hdr"]))
    own = {name.removeprefix("raim2026_hdr/"): value for name, value in found.results.items()}
    expected = 30 * own["psnr"] / 50 + 22.5 * (own["ssim"] - 0.5) / 0.5 + 30 * (1 - own["lpips"] / 0.4)
    assert own["score"] == pytest.approx(expected)
    assert len(calls) == 6 + 1  # one for each image, and the trial before the test
    assert "raim2026_hdr/score" in found.intervals


# --- intervals ---


def test_an_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).normal(30, 2, 40)
    ours = interval(resampled(list(values), "set"))
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=9999, rng=0).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.06)


def test_the_same_images_are_drawn_for_every_metric() -> None:
    values = [1.0, 5.0, 2.0, 8.0]
    doubled = resampled([2 * value for value in values], "set")
    np.testing.assert_allclose(doubled, 2 * resampled(values, "set"))
    assert not np.allclose(resampled(values, "other"), resampled(values, "set"))


def measured(name: str, values: list[float | None]) -> Evaluation:
    rows = [{"lq_path": str(n), "metrics": {} if v is None else {"psnr": v}, "input": {}} for n, v in enumerate(values)]
    known = [value for value in values if value is not None]
    return Evaluation(name, len(values), {"psnr": float(np.mean(known))}, per_image=rows)


def test_images_without_a_value_are_counted_in_every_form() -> None:
    sets = [measured("a", [20.0, None, 30.0]), measured("b", [10.0, 11.0])]
    (table,) = result_tables(sets, [Measurement({"psnr": build_metric({"type": "PSNR"})})])
    assert sets[0].counts == {"psnr": 2}
    assert [row.cells[0].lacking for row in table.rows] == [1, 0, 1]
    assert "(1 missing)" in as_markdown([table])
    assert "(1 missing)" in as_latex([table])
    assert next(csv.DictReader(io.StringIO(as_csv([table]))))["missing"] == "1"


def test_brackets_and_bars_are_text_in_every_form() -> None:
    reason = "term 'lpips' cannot be measured: pip install 'uir[metrics]'"
    measurement = Measurement({}, protocol_named("raim2024"), {"lpips": reason})
    tables = result_tables([Evaluation("rain [hard] a|b", 2, {"raim2024/psnr": 30.0})], [measurement])
    screen = Console(width=120, file=io.StringIO())
    print_tables(tables, screen)
    assert isinstance(screen.file, io.StringIO)
    shown = " ".join(screen.file.getvalue().replace("│", " ").split())
    assert "rain [hard] a|b" in shown
    assert "pip install 'uir[metrics]'" in shown
    assert "| rain [hard] a\\|b | 2 | 30.00 |" in as_markdown(tables)
    assert "rain {[}hard{]} a|b & 2 & 30.00" in as_latex(tables)


def test_json_of_equal_images_is_read_by_others_too() -> None:
    sets = [measured("a", [math.inf, math.inf]), measured("b", [math.nan, -math.inf])]
    text = json_text(sets, result_tables(sets, [Measurement({})]))
    content = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert float(content["datasets"][0]["results"]["psnr"]) == math.inf
    assert [row["metrics"]["psnr"] for row in content["datasets"][1]["per_image"]] == ["NaN", "-Infinity"]


def test_a_table_says_where_less_is_better() -> None:
    metrics = {"psnr": build_metric({"type": "PSNR"}), "niqe": build_metric({"type": "NIQE"})}
    (table,) = result_tables([], [Measurement(metrics)])
    assert table.described["niqe"].endswith("; lower is better")
    assert "better" not in table.described["psnr"]


def test_the_interval_of_a_mean_over_sets_draws_within_each_set() -> None:
    generator = np.random.default_rng(1)
    sets = [measured(name, list(generator.normal(centre, 1, 50))) for name, centre in (("a", 20), ("b", 40))]
    (table,) = result_tables(sets, [Measurement({})])
    low, high = table.rows[-1].cells[0].interval or (0, 0)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(2 / 50) / 2, rel=0.25)


@pytest.mark.parametrize("values", [[30.0], [30.0, float("inf")]])
def test_what_has_no_spread_has_no_interval(values: list[float]) -> None:
    found = measured("a", list(values))
    add_intervals(found, {})
    assert found.intervals == {}
    assert found.counts == {"psnr": len(values)}


@pytest.mark.parametrize(("width", "lines_with_both"), [(120, 1), (40, 0)])
def test_tables_stand_side_by_side_where_there_is_room(width: int, lines_with_both: int) -> None:
    found = Evaluation("a", 2, {"dcpt/psnr": 30.0, "maskdcpt/psnr": 31.0})

    both = [
        Measurement({"psnr": build_metric({"type": "PSNR"})}, protocol_named(name)) for name in ("dcpt", "maskdcpt")
    ]
    screen = Console(width=width, file=io.StringIO())
    print_tables(result_tables([found], both), screen)
    assert isinstance(screen.file, io.StringIO)
    lines = screen.file.getvalue().splitlines()
    assert sum("protocol dcpt" in line and "protocol maskdcpt" in line for line in lines) == lines_with_both
    assert sum("30.00" in line for line in lines) == 1
