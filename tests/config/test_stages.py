"""What an entry of `train.stages` may override, and where its keys go."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from uir.config.stages import StageError, plan_stages

FILE: dict[str, Any] = {
    "name": "staged",
    "model_type": "SRModel",
    "network_g": {"type": "NAFNet"},
    "train": {"optim_g": {"type": "Adam", "lr": 1e-4}, "pixel_opt": {"type": "L1Loss"}},
}


def planned(**entry: Any) -> dict[str, Any]:
    """The whole file as a stage with these keys sees it."""
    raw = copy.deepcopy(FILE)
    raw["train"]["stages"] = [{"name": "one", "iterations": 5, **entry}]
    (plan,) = plan_stages(raw, {})
    return plan.raw


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ema_decay", 0.9),
        ("optim_g", {"type": "Adam", "lr": 2e-4}),
        ("scheduler_g", {"type": "StepLR", "step_size": 2}),
        ("grad_clip_g", 0.5),
        ("edge_opt", {"type": "L1Loss"}),
    ],
)
def test_keys_of_train_may_stand_in_the_entry_itself(key: str, value: Any) -> None:
    whole = planned(**{key: value})
    assert whole["train"][key] == value
    assert key not in whole


@pytest.mark.parametrize("places", ["top", "train", "top and train"])
@pytest.mark.parametrize(("value", "applies"), [(1.0, 1.0), (None, None)])
def test_a_stage_changes_the_clipping_at_whichever_place_the_file_has_it(
    places: str, value: float | None, applies: float | None
) -> None:
    raw = copy.deepcopy(FILE)
    for place, section in (("top", raw), ("train", raw["train"])):
        if place in places:
            section["grad_clip"] = 0.01
    raw["train"]["stages"] = [
        {"name": "one", "iterations": 5, "grad_clip": value},
        {"name": "two", "iterations": 5, "train": {"grad_clip": value}},
        {"name": "three", "iterations": 5},
    ]
    plans = [plan.raw for plan in plan_stages(raw, {})]
    assert [plan["train"].get("grad_clip") for plan in plans] == [applies, applies, 0.01]
    assert not any("grad_clip" in plan for plan in plans)


def test_the_keys_of_the_stage_s_own_method_count() -> None:
    whole = planned(model_type="DCPTModel", labels=["a", "b"])
    assert whole["train"]["labels"] == ["a", "b"]


@pytest.mark.parametrize("key", ["network_g", "path", "val", "precision"])
def test_other_keys_are_those_of_the_file(key: str) -> None:
    assert planned(**{key: {"a": 1}})[key]["a"] == 1


@pytest.mark.parametrize("key", ["total_iter", "stages", "base"])
def test_what_no_stage_may_say_is_refused(key: str) -> None:
    with pytest.raises(StageError, match="is not an option of a stage"):
        planned(**{key: 7})
