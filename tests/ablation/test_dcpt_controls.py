"""options/ablation/dcpt_controls.yml: what its cells share, and that each of them trains."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from uir.ablation.grid import read_ablation
from uir.ablation.runs import Plan, Run, plan_runs
from uir.config.options import OptionFile, Stage, load_options
from uir.data.building import build_dataset, training_loader
from uir.engine.dry_run import describe_stage
from uir.engine.run import seed_everything
from uir.models.building import build_model

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("scratch", "two_stage_without_classifier", "dcpt_without_classifier", "dct", "dcpt", "mask_dcpt")


FILE = ROOT / "options" / "ablation" / "dcpt_controls.yml"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The grid with every method, also one that is excluded as it ships."""
    content = yaml.safe_load(FILE.read_text())
    content["base"] = str((FILE.parent / content["base"]).resolve())
    content["exclude"] = [rule for rule in content["exclude"] if "backbone" in rule]
    file = tmp_path_factory.mktemp("controls") / "ablation.yml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return plan_runs(read_ablation(file), ROOT)


def load(run: Run, folder: Path, network: dict[str, Any] | None = None) -> OptionFile:
    """A run's file on the demo photographs, with small batches; of another network, where one is given."""
    options = copy.deepcopy(dict(run.options["train"]))
    options["network_g"] = network or options["network_g"]
    tasks = options["datasets"]["train"]["tasks"]
    for dataset in [*tasks.values(), *(options["datasets"][key] for key in options["datasets"] if key != "train")]:
        dataset |= {"dataroot_gt": str(ROOT / "datasets" / "demo" / "train"), "held_out": 2}
    file = folder / "run.yml"
    file.write_text(yaml.safe_dump(options))
    small = [
        "num_gpu=0",
        *(f"datasets:train:{key}" for key in ("gt_size=32", "batch_size_per_gpu=2", "num_worker_per_gpu=0")),
    ]
    return load_options(file, force=small, root=ROOT)


def test_the_controls_ship_with_at_least_three_seeds() -> None:
    ablation = read_ablation(FILE)
    needed = {"scratch", "two_stage_without_classifier", "dct", "dcpt", "mask_dcpt"}
    assert {f"{method}-nafnet" for method in needed} <= {cell.name for cell in ablation.cells}
    assert len(ablation.seeds) >= 3


def test_the_average_of_the_weights_forgets_the_stage_before(plan: Plan) -> None:
    for run in plan.runs:
        train = run.options["train"]["train"]
        assert train["ema_decay"] ** min(stage["iterations"] for stage in train["stages"]) < 0.01


def test_network_data_optimizer_and_length_are_the_same(plan: Plan) -> None:
    first = plan.runs[0]
    for run in plan.runs:
        mine, theirs = run.options["train"], first.options["train"]
        assert run.iterations == first.iterations
        assert [mine[key] for key in ("network_g", "datasets", "val")] == [
            theirs[key] for key in ("network_g", "datasets", "val")
        ]
        for key in ("optim_g", "pixel_opt", "ema_decay", "grad_clip"):
            assert mine["train"][key] == theirs["train"][key]


def test_a_second_stage_does_not_see_the_samples_of_the_first_again(plan: Plan, tmp_path: Path) -> None:
    run = next(run for run in plan.runs if run.cell == "dcpt-nafnet")
    seeds = []
    for stage in load(run, tmp_path).stages:
        sampler = training_loader(stage.file)[1]
        seeds.append({key.seed for batch in sampler for key in batch})
    assert len(seeds[0] & seeds[1]) < 0.3 * len(seeds[0])  # few photographs: some coincide


def test_learning_rates_fall_once_in_every_stage(plan: Plan) -> None:
    for run in plan.runs:
        for stage in run.options["train"]["train"]["stages"]:
            assert stage["scheduler"]["periods"] == [stage["iterations"]]


@pytest.mark.thorough
def test_all_methods_start_from_the_same_weights(plan: Plan, tmp_path: Path) -> None:
    starts: list[dict[str, Any]] = []
    with torch.random.fork_rng():
        for run in plan.runs[: len(METHODS)]:  # those of the first seed
            stage = load(run, tmp_path).stages[0]
            seed_everything(run.seed)
            starts.append(built(stage).bare["g"].state_dict())
    assert len(starts) == len(METHODS)
    for start in starts[1:]:
        assert all(torch.equal(start[key], value) for key, value in starts[0].items())


def built(stage: Stage) -> Any:
    """The training method of a stage, which is told the labels of its training set."""
    return build_model(stage.file, torch.device("cpu"), dataset=build_dataset(stage.file, "train"))


@pytest.mark.thorough
@pytest.mark.parametrize("method", METHODS)
def test_every_stage_makes_a_step(plan: Plan, method: str, tmp_path: Path) -> None:
    run = next(run for run in plan.runs if run.cell == f"{method}-nafnet")
    with torch.random.fork_rng():
        found = [describe_stage(stage) for stage in load(run, tmp_path).stages]
    classifies = method in ("dct", "dcpt", "mask_dcpt", "dcpt_without_classifier")
    assert set(found[0]["losses"]) == ({"l_pix", "l_classify"} if classifies else {"l_pix"})
    assert found[0]["validation"] == dict.fromkeys(("haze", "rain", "noise", "blur", "low_light"), 2)
    assert set(found[-1]["losses"]) == ({"l_pix", "l_classify"} if method == "dct" else {"l_pix"})
    if method == "dcpt_without_classifier":
        assert found[0]["losses"]["l_classify"] == 0


@pytest.mark.thorough
@pytest.mark.parametrize("backbone", ["promptir", "restormer", "swinir"])
def test_the_stages_of_mask_dcpt_fit_the_other_backbones(plan: Plan, backbone: str, tmp_path: Path) -> None:
    run = next(run for run in plan.runs if run.cell == "mask_dcpt-nafnet")
    network = yaml.safe_load(FILE.read_text())["grid"]["backbone"][backbone]["network_g"]
    with torch.random.fork_rng():
        for stage in load(run, tmp_path, network).stages:
            assert built(stage).components["g"].type == network["type"]
