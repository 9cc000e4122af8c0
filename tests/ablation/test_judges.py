"""The scripts that judge announced experiments: made-up runs with known intervals get the announced verdict."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from scripts import ROOT, load_script

from uir.ablation.grid import read_ablation
from uir.ablation.runs import plan_runs
from uir.ablation.statistics import interval
from uir.registry.components import build_network

OPTIONS = ROOT / "options" / "ablation"
SETS = ("haze", "low_light", "blur", "rain", "noise")
SPREAD = (-0.1, -0.05, 0.0, 0.05, 0.1)
"""Of five seeds. The interval of such differences: 2.776 · 0.0791 / √5 = 0.098."""


@pytest.fixture(scope="module", autouse=True)
def beside_the_judges() -> Iterator[None]:
    """They import a module that lies beside them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks" / "experiments"))
        yield


@pytest.fixture(scope="module")
def dcpt() -> ModuleType:
    return load_script("benchmarks/experiments/dcpt_question.py")


@pytest.fixture(scope="module")
def dasr() -> ModuleType:
    return load_script("benchmarks/experiments/dasr_question.py")


@pytest.fixture(scope="module")
def knn() -> ModuleType:
    return load_script("benchmarks/experiments/knn_question.py")


def write(folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def validation(iteration: int, psnr: float, **others: float) -> list[dict[str, object]]:
    """The rows of a validation; rain and noise, which do not count, are 50 dB."""
    values = {name: psnr if name in SETS[:3] else 50.0 for name in SETS}
    return [{"iter": iteration, "dataset": name, "metrics": {"psnr": v, **others}} for name, v in values.items()]


def dcpt_runs(folder: Path, gains: Mapping[str, float], top1: float = 0.95, seeds: int = 5) -> None:
    """Scratch with 20 dB; B that is `gains` dB better than each control in the mean over the seeds."""
    for seed, spread in zip(range(11, 11 + seeds), SPREAD, strict=False):
        best = 20.0 + spread + gains["A_scratch"]
        ends = {"A_scratch": 20.0, "B_dcpt": best}
        ends |= {cell: best - spread - gain for cell, gain in gains.items() if cell != "A_scratch"}
        for cell, psnr in ends.items():
            start = 0 if cell == "A_scratch" else 3000
            rows = validation(start, 10.0, top1=top1) if start else []
            write(folder / cell / f"seed{seed}" / "train" / f"run{seed}", [*rows, *validation(start + 2000, psnr)])


def dcpt_verdict(dcpt: ModuleType, folder: Path, seeds: int = 5) -> str:
    cells = dcpt.read(folder, 3000)
    return dcpt.verdict(cells, {cell: dcpt.end_of(cell, 3000, 2000) for cell in cells}, seeds)


CLEAR = {"A_scratch": 0.5, "C_reconstruction": 0.5, "D_permuted_labels": 0.5}


@pytest.mark.parametrize(
    ("gains", "top1", "said"),
    [
        (CLEAR, 0.95, "supported"),
        ({**CLEAR, "D_permuted_labels": 0.05}, 0.95, "open"),  # its interval has 0
        ({**CLEAR, "A_scratch": 0.05}, 0.95, "is below 0.2 dB: refuted if the other budget agrees"),  # 0.05 + 0.098
        ({**CLEAR, "A_scratch": 0.15, "C_reconstruction": 0.0}, 0.95, "open"),  # 0.15 + 0.098
        (CLEAR, 0.89, "the gate is not passed"),
        ({"A_scratch": 0.05}, 0.95, "is below 0.2 dB"),  # needs no other control
        ({"A_scratch": 0.5}, 0.95, "open until 5 seeds of C_reconstruction and D_permuted_labels are finished"),
    ],
)
def test_dcpts_verdict_is_the_announced_one(
    dcpt: ModuleType, gains: Mapping[str, float], top1: float, said: str, tmp_path: Path
) -> None:
    assert interval(SPREAD).half_width == pytest.approx(0.0982, abs=1e-4)
    dcpt_runs(tmp_path, gains, top1)
    assert said in dcpt_verdict(dcpt, tmp_path)


def test_dcpts_verdict_waits_for_all_announced_seeds(dcpt: ModuleType, tmp_path: Path) -> None:
    dcpt_runs(tmp_path, CLEAR, seeds=4)
    assert "fewer than 5 seeds of B_dcpt and A_scratch" in dcpt_verdict(dcpt, tmp_path)
    assert "supported" in dcpt_verdict(dcpt, tmp_path, seeds=4)


def test_dcpts_judge_leaves_out_runs_that_were_repeated_with_other_options(dcpt: ModuleType, tmp_path: Path) -> None:
    dcpt_runs(tmp_path, CLEAR)
    write(tmp_path / "B_dcpt" / "seed11" / "train" / "run11_archived_20260101_000000", validation(4000, 0.0))
    assert "supported" in dcpt_verdict(dcpt, tmp_path)


def test_dcpts_judge_waits_for_the_end_of_a_validation(dcpt: ModuleType, tmp_path: Path) -> None:
    dcpt_runs(tmp_path, CLEAR)
    write(tmp_path / "B_dcpt" / "seed16" / "train" / "run16", validation(3000, 10.0, top1=0.0)[:3])
    assert "top-1 0.950" in dcpt_verdict(dcpt, tmp_path)


def test_dcpts_judge_compares_another_setting_and_names_the_most_promising(dcpt: ModuleType, tmp_path: Path) -> None:
    dcpt_runs(tmp_path, CLEAR)
    for seed, spread in zip(range(11, 16), SPREAD, strict=True):
        rows = [*validation(3000, 10.0, top1=1.0), *validation(5000, 20.0 + spread)]
        write(tmp_path / "G_clipped" / f"seed{seed}" / "train" / f"run{seed}", rows)
    cells = dcpt.read(tmp_path, 3000)
    last = dict.fromkeys(cells, 2000)
    assert dcpt.most_promising(cells, last) == "B_dcpt"
    assert "top-1 1.000); G_clipped - A_scratch is below" in dcpt.verdict(cells, last, 5, "G_clipped")


def test_the_norms_table_has_the_differences_from_the_classifier_with_it(tmp_path: Path) -> None:
    norm, spreads = load_script("benchmarks/experiments/classifier_norm_trained.py"), (-0.1, 0.0, 0.1)
    for seed, spread in enumerate(spreads, start=1):
        for cell, psnr, top1 in (("norm", 20.0, 0.5), ("no_norm", 20.5 + spread, 0.75 + spread)):
            rows = [*validation(1000, 10.0, top1=top1), *validation(2000, psnr)]
            write(tmp_path / cell / f"seed{seed}" / "train" / f"run{seed}", rows)
    _, count, _, gain, top1, wider = (list(column.cells) for column in norm.table(norm.read(tmp_path, 1000)).columns)
    assert (count, top1[1]) == (["3", "3"], "50.00 ± 0.00")
    assert gain == ["**+0.30 ± 0.15**", ""]  # three of five sets gain 0.5; t is 4.303: 0.6 * 4.303 * 0.1 / sqrt(3)
    assert wider == ["**+25.00 ± 24.84**", ""]


def test_a_record_has_the_finished_runs_of_several_folders(dcpt: ModuleType, tmp_path: Path) -> None:
    dcpt_runs(tmp_path / "all", CLEAR)
    write(tmp_path / "all" / "G_clipped" / "seed11" / "train" / "run11", validation(4000, 20.0))  # not at its end
    file, last = tmp_path / "record.json", {cell: dcpt.end_of(cell, 3000, 2000) for cell in dcpt.CELLS}
    for seed in ("seed11", "seed12", "seed1[345]"):
        one = tmp_path / "one" / seed
        for run in (tmp_path / "all").glob(f"*/{seed}"):
            shutil.copytree(run, one / run.parent.name / run.name)
        cells = dcpt.recorded(file, dcpt.read(one, 3000), last)
    in_one_folder = dcpt.read(tmp_path / "all", 3000)
    assert cells == {cell: in_one_folder[cell] for cell in ("A_scratch", *CLEAR, "B_dcpt") if cell in in_one_folder}
    assert "supported" in dcpt.verdict(cells, last, 5)


def test_a_repeated_run_replaces_its_record_and_says_so(
    dcpt: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = sys.modules["_records"]
    file = tmp_path / "record.json"
    records.add_to_record(file, {"A": {1: {"psnr": 20.0}, 2: {"psnr": 21.0}}})
    assert not capsys.readouterr().out
    again = {"A": {1: {"psnr": 20.5}, 2: {"psnr": 21.0}}}
    assert records.add_to_record(file, again) == again == records.read_record(file)
    said = " ".join(capsys.readouterr().out.split())
    assert "A seed 1 is replaced" in said
    assert "seed 2" not in said


def test_the_gate_of_dasr_is_in_nats_whatever_the_weight_of_the_loss(dasr: ModuleType, tmp_path: Path) -> None:
    assert pytest.approx(math.log(1 + 2048 / 272)) == dasr.GATE
    write(
        tmp_path / "run", [{"iter": i, "l_contrastive": nats / 255} for i, nats in ((90, 9.0), (95, 4.0), (100, 2.0))]
    )
    options = {
        "contrastive_opt": {"type": "InfoNCELoss", "loss_weight": 1 / 255},
        "stages": [{"name": "encoder", "iterations": 100}],
    }
    (tmp_path / "run" / "train.yml").write_text(yaml.safe_dump({"train": options}))
    assert dasr.at_the_end(dasr.contrastive_losses(tmp_path / "run")) == pytest.approx(3.0)


def test_dasrs_probes_read_the_trained_encoder_of_a_run(dasr: ModuleType, tmp_path: Path) -> None:
    spec = {"type": "ConvBN6Encoder", "widths": [4, 4, 4]}
    (tmp_path / "models").mkdir()
    (tmp_path / "train.yml").write_text(yaml.safe_dump({"network_e": spec}))
    torch.manual_seed(5)
    trained = build_network(spec)
    torch.save({"params": trained.state_dict()}, tmp_path / "models" / "net_e_latest.pth")
    patches = dasr.widths_of(ROOT / "datasets" / "demo" / "test")
    found = dasr.probed(tmp_path, 4, patches)
    torch.manual_seed(4)
    assert found["untrained"] == dasr.accuracies(build_network(spec), patches)
    assert found["trained"] == dasr.accuracies(trained, patches) != found["untrained"]
    assert set(found["trained"]) == {f"{kind}, {codes}" for kind in ("linear", "knn") for codes in ("plain", "centred")}


@pytest.mark.parametrize(
    ("loss", "probe", "gain", "said"),
    [
        (2.0, [5, 6, 7], [0.19, 0.2, 0.21], "supported"),  # 6 ± 2.5, 0.2 ± 0.025
        (2.0, [-1, 0, 1], [-0.01, 0.0, 0.01], "refuted"),  # 0 ± 2.5, 0 ± 0.025
        (2.0, [-1, 0, 1], [-0.1, 0.0, 0.1], "open"),  # 0 ± 0.25
        (2.0, [5, 6, 7], [-0.01, 0.0, 0.01], "open"),
        (2.2, [5, 6, 7], [0.19, 0.2, 0.21], "the gate is not passed"),
        (2.0, [5, 6], [0.19, 0.2], "2 of 3 seeds are finished"),
        (2.0, [5, 6, 7], [], "0 of 3 seeds are finished"),
    ],
)
def test_dasrs_verdict_is_the_announced_one(
    dasr: ModuleType, loss: float, probe: list[float], gain: list[float], said: str
) -> None:
    assert said in dasr.verdict(loss, *(interval(values) if values else None for values in (probe, gain)))


@pytest.mark.parametrize(
    ("over_random", "over_kaiming", "said"),
    [
        ([9, 10, 11], [4, 5, 6], "supported"),  # 10 ± 2.5, 5 ± 2.5
        ([9, 10, 11], [1, 2, 3], "open"),  # 2 ± 2.5
        ([1, 2, 3], [-1, 0, 1], "refuted"),  # 2 ± 2.5, 0 ± 2.5
        ([2, 3, 4], [-1, 0, 1], "open"),  # 3 ± 2.5
        ([9, 10], [4, 5, 6], ""),
    ],
)
def test_the_verdict_of_features_is_the_announced_one(
    knn: ModuleType, over_random: list[float], over_kaiming: list[float], said: str
) -> None:
    assert knn.verdict([interval(over_random), interval(over_kaiming)], 3) == said


def test_the_features_of_a_finished_run_are_asked(knn: ModuleType, tmp_path: Path) -> None:
    network = {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]}
    for seed in (21, 22):
        run = tmp_path / "runs" / "nafnet" / f"seed{seed}" / "train" / f"run{seed}"
        write(run, validation(1000, 20.0) if seed == 21 else [{"iter": 50, "l_pix": 0.1}])  # 22 is not finished
        (run.parents[1] / "train.yml").write_text(yaml.safe_dump({"name": "x", "network_g": network}))
        (run / "models").mkdir()
        torch.manual_seed(3)
        torch.save({"params": build_network(network).state_dict()}, run / "models" / "net_g_latest.pth")
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for file in sorted((ROOT / "datasets" / "demo" / "test").iterdir())[:4]:
        shutil.copy(file, photographs)
    record = knn.measured(tmp_path / "runs", photographs)
    assert list(record["nafnet"]) == [21]
    levels = {init: record["nafnet"][21][init] for init in knn.INITS}
    assert all(list(values) == ["decoders.0"] and 0 < values["decoders.0"] <= 100 for values in levels.values())
    assert 0 < record["pixels"][0]["pixels"] <= 100
    assert knn.table(record).row_count == 1


def without_lengths(value: Any) -> Any:
    """Options of a run without lengths and names."""
    if isinstance(value, list):
        return [without_lengths(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    left_out = ("iterations", "periods", "val_freq", "path", "name")
    return {key: without_lengths(part) for key, part in value.items() if key not in left_out}


def test_the_second_budget_is_the_first_one_four_times_as_long() -> None:
    first, second = (
        {run.cell: run for run in plan_runs(read_ablation(OPTIONS / f"{name}.yml"), OPTIONS.parents[1]).runs}
        for name in ("dcpt_question", "dcpt_question_longer")
    )
    assert set(second) == set(first) - {"E_equal_compute"}
    for cell, run in second.items():
        assert run.iterations == 4 * first[cell].iterations
        assert without_lengths(run.options["train"]) == without_lengths(first[cell].options["train"])
