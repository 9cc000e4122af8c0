"""The option files of the models 1 to 5 of DASR: they share everything but what the paper names."""

from __future__ import annotations

from pathlib import Path

import pytest

from uir.ablation.grid import read_ablation
from uir.ablation.runs import plan_runs

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["dasr_models", "dasr_models_x4"])
def test_each_model_is_the_paper_s(name: str) -> None:
    plan = plan_runs(read_ablation(ROOT / "options" / "ablation" / f"{name}.yml"), ROOT)
    runs = {run.cell: dict(run.options["train"]) for run in plan.runs if run.seed == plan.ablation.seeds[0]}
    assert list(runs) == [f"model_{number}" for number in range(1, 6)]
    described = {
        cell: (
            one["network_g"].get("code_layer", "da_conv"),
            "contrastive_opt" in one["train"],
            one["train"].get("code", "own"),
            len(one["train"]["stages"]),
        )
        for cell, one in runs.items()
    }
    assert described == {
        "model_1": ("da_conv", False, "own", 1),
        "model_2": ("stretch", True, "own", 2),
        "model_3": ("kernels", True, "own", 2),
        "model_4": ("da_conv", True, "own", 2),
        "model_5": ("da_conv", False, "kernel", 1),
    }
    full = runs["model_4"]
    for cell, one in runs.items():
        assert one["datasets"] == full["datasets"]
        assert one["network_e"] == full["network_e"]
        assert one["train"]["optim_g"] == full["train"]["optim_g"]
        joint, whole = ({**dict(each["train"]["stages"][-1]), "carry": []} for each in (one, full))
        assert joint == whole
        assert (one["train"].get("optim_e") is None) == (cell == "model_5")
        own = {"code_layer", "kernel_size"}
        assert {key: value for key, value in one["network_g"].items() if key not in own} == full["network_g"]
