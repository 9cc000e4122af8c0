"""options/ablation/dasr_controls.yml: what its cells share, and what each of them changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from uir.ablation.grid import read_ablation
from uir.ablation.runs import Plan, plan_runs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_runs(read_ablation(ROOT / "options" / "ablation" / "dasr_controls.yml"), ROOT)


def options_of(plan: Plan) -> dict[str, dict[str, Any]]:
    return {run.cell: dict(run.options["train"]) for run in plan.runs if run.seed == plan.ablation.seeds[0]}


def test_the_restorer_its_data_and_the_last_stage_are_the_same(plan: Plan) -> None:
    first, *others = options_of(plan).values()
    for options in others:
        assert [options[key] for key in ("network_g", "network_e", "datasets", "val")] == [
            first[key] for key in ("network_g", "network_e", "datasets", "val")
        ]
        assert options["train"]["optim_g"] == first["train"]["optim_g"]
        last, first_s_last = options["train"]["stages"][-1], first["train"]["stages"][-1]
        assert (last["iterations"], last["scheduler"]) == (first_s_last["iterations"], first_s_last["scheduler"])


def test_each_cell_has_its_code_and_its_losses(plan: Plan) -> None:
    train = {cell: options["train"] for cell, options in options_of(plan).items()}
    assert {cell: (one.get("code", "own"), "contrastive_opt" in one) for cell, one in train.items()} == {
        "own_with_contrast": ("own", True),
        "own_without_contrast": ("own", False),
        "true_sigma": ("record", False),
        "shuffled": ("shuffled", True),
    }
    assert [cell for cell, one in train.items() if one.get("optim_e") is None] == ["true_sigma"]
