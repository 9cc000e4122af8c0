"""options/ablation/all_in_one_proxy.yml: its cells differ in the method alone, and are about equally large."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from uir.ablation.grid import read_ablation
from uir.ablation.runs import Plan, Run, plan_runs
from uir.config.options import load_options
from uir.models.building import build_model

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[2]
CELLS = (
    "nafnet", "swinir", "restormer", "promptir", "airnet", "transweather", "idr", "adair", "moce_ir", "instructir",
    "weather_diff", "diffuir", "irsde", "refusion", "diffir", "daclip",
)  # fmt: skip


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_runs(read_ablation(ROOT / "options" / "ablation" / "all_in_one_proxy.yml"), ROOT)


def first_run(plan: Plan, cell: str) -> Run:
    return next(run for run in plan.runs if run.cell == cell)


def built(run: Run, folder: Path) -> Any:
    """The method of the last stage, which is told the labels of its training set."""
    file = folder / "run.yml"
    file.write_text(yaml.safe_dump(dict(run.options["train"])))
    loaded = load_options(file, root=ROOT)
    last = loaded.stages[-1].file if loaded.stages else loaded
    data = SimpleNamespace(labels=("haze", "rain", "noise", "blur", "low_light"), gives=("lq_key",))
    return build_model(last, torch.device("cpu"), dataset=data)


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_has_about_as_many_parameters(plan: Plan, cell: str, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        networks = built(first_run(plan, cell), tmp_path).predictor.networks.values()
    parameters = {id(value): value.numel() for network in networks for value in network.parameters()}
    assert 350_000 < sum(parameters.values()) < 550_000


def test_all_cells_see_the_same_photographs_and_are_measured_alike(plan: Plan) -> None:
    assert {run.cell for run in plan.runs} == set(CELLS)
    assert len(plan.ablation.seeds) >= 2

    def shared(run: Run) -> dict[str, Any]:
        options = copy.deepcopy(dict(run.options["train"]))
        for task in options["datasets"]["train"]["tasks"].values():
            del task["type"]  # AirNet gets two crops of each photograph
        options["val"].pop("controls", None)
        text = json.dumps({key: options[key] for key in ("datasets", "val")})
        return json.loads(text.replace(f"{ROOT}/", ""))  # some paths are already whole

    for run in plan.runs:
        assert shared(run) == shared(plan.runs[0])


def test_learning_rates_fall_once_in_every_stage(plan: Plan) -> None:
    for run in plan.runs:
        train = run.options["train"]["train"]
        for stage in train.get("stages", [train]):
            assert stage["scheduler"]["periods"] == [stage.get("iterations", train.get("total_iter"))]
