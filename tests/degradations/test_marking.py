"""Shuffles, levels, tasks, stages and replays."""

import json
from collections import Counter

import pytest
import torch

from uir.degradations.record import DegradationRecord
from uir.registry.components import build

NOISE = {"type": "GaussianNoise", "sigma": [5, 50]}
HAZE = {"type": "Haze"}
DARK = {"type": "LowLight"}
IMAGE = torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(0))


def pipeline(kind, **arguments):
    return build("degradations", {"type": kind, **arguments})


def test_shuffle_gives_every_order_about_as_often_and_keeps_each_step_s_draws():
    shuffle = pipeline("Shuffle", steps=[HAZE, NOISE, DARK])
    orders = Counter(shuffle.record(seed, (8, 8)).ops for seed in range(600))
    assert len(orders) == 6
    assert min(orders.values()) > 60
    ordered = pipeline("Shuffle", steps=[HAZE, NOISE, DARK], p=0.0).record(3, (8, 8))
    assert ordered.ops == ("Haze", "GaussianNoise", "LowLight")
    for step in shuffle.record(3, (8, 8)).steps:
        assert step in ordered.steps


def test_shuffle_keeps_the_order_that_it_is_told_to_keep():
    shuffle = pipeline("Shuffle", steps=[HAZE, NOISE, DARK], keep_order=[0, 2])
    orders = {shuffle.record(seed, (8, 8)).ops for seed in range(100)}
    assert len(orders) == 3
    assert all(order.index("Haze") < order.index("LowLight") for order in orders)


def test_repeat_draws_anew_each_time():
    steps = pipeline("Repeat", step=NOISE, times=3).record(0, (8, 8)).steps
    assert len({step["sigma_255"] for step in steps}) == 3
    counts = Counter(len(pipeline("Repeat", step=NOISE, times=[0, 2]).record(s, (8, 8)).steps) for s in range(90))
    assert set(counts) == {0, 1, 2}


def test_level_is_noted_and_drawn_by_weight():
    levels = pipeline("Level", levels={"weak": HAZE, "strong": NOISE}, weights={"weak": 1, "strong": 3})
    names = Counter(levels.record(seed, (8, 8)).steps[0]["level"] for seed in range(400))
    assert 60 < names["weak"] < 140
    assert levels.record(0, (8, 8)).label is None


def test_task_labels_the_record_unless_the_caller_does():
    tasks = pipeline("Task", tasks={"haze": HAZE, "noise": NOISE})
    _, record = tasks(IMAGE, 5)
    assert record.label == record.steps[0]["label"] in ("haze", "noise")
    assert tasks(IMAGE, 5, label="mine")[1].label == "mine"


def test_a_mark_does_nothing_and_counts_for_nothing():
    result, record = pipeline("Mark", label="clean")(IMAGE, 0)
    assert torch.equal(result, IMAGE)
    assert record.is_clean
    assert record.label == "clean"
    assert record.applied == ()


def test_stage_is_noted_in_each_step_and_changes_no_draw():
    inner = pipeline("Sequence", steps=[HAZE, NOISE])
    staged = pipeline("Stage", name="first", step=inner).record(4, (8, 8))
    assert [step["stage"] for step in staged.steps] == ["first", "first"]
    degraded, record = pipeline("Stage", name="first", step=NOISE)(IMAGE, 4)
    unstaged = DegradationRecord(tuple({k: v for k, v in s.items() if k != "stage"} for s in record.steps))
    again = pipeline("Replay", record=unstaged.to_dict())(IMAGE, 99)[0]
    assert torch.equal(again, degraded)


def test_replay_of_a_file_gives_the_recorded_image_and_label(tmp_path):
    degraded, record = pipeline("Task", tasks={"haze": HAZE, "noise": NOISE})(IMAGE, 7)
    file = tmp_path / "record.json"
    file.write_text(json.dumps(record.to_dict()))
    again, replayed = pipeline("Replay", file=str(file))(IMAGE, 123)
    assert torch.equal(again, degraded)
    assert replayed.label == record.label


def test_editing_one_step_of_a_record_leaves_the_others_alone():
    _, record = pipeline("Sequence", steps=[HAZE, NOISE])(IMAGE, 7)
    edited = record.to_dict()
    edited["steps"][1]["sigma_255"] = 0.0
    hazy, _ = pipeline("Replay", record={"steps": edited["steps"][:1]})(IMAGE, 0)
    assert torch.equal(pipeline("Replay", record=edited)(IMAGE, 0)[0], hazy)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("Shuffle", {"steps": [HAZE], "keep_order": [1]}, "keep_order: expected indices of steps, 0 to 0, got 1"),
        ("Repeat", {"step": HAZE, "times": -1}, "Repeat.times"),
        ("Level", {"levels": {}}, "Level.levels: expected at least one"),
        ("Level", {"levels": {"a": HAZE}, "weights": {"b": 1}}, "one number for each of a"),
        ("Task", {"tasks": {"a": {"type": "Hase"}}}, "Task.tasks.a"),
        ("Stage", {"name": "", "step": HAZE}, "Stage.name"),
        ("Mark", {}, "nothing to note"),
        ("Replay", {}, "either `record` or `file`"),
        ("Replay", {"record": {"steps": None}}, "unknown"),
        ("Replay", {"record": {"steps": [{"op": "Hase"}]}}, "no degradation named Hase"),
    ],
)
def test_mistakes_are_told(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        pipeline(kind, **arguments)
