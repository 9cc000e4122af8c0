"""Pipelines: what is drawn, what is recorded, and from which seeds."""

import copy

import numpy as np
import pytest
import torch

from uir.config.spec import PLACES, ListOf, class_keys
from uir.degradations.blur_degradation import MotionBlur
from uir.degradations.noise_degradation import GaussianNoise
from uir.degradations.pipeline_degradation import Maybe, OneOf, Sequence
from uir.registry import DEGRADATION_REGISTRY
from uir.registry.components import build

IMAGE = torch.rand(3, 16, 20, generator=torch.Generator().manual_seed(0))
STEPS = [
    {"type": "Haze"},
    {"type": "Maybe", "p": 0.5, "step": {"type": "MotionBlur"}},
    {"type": "OneOf", "steps": [{"type": "LowLight"}, {"type": "RainStreaks"}]},
    {"type": "GaussianNoise", "sigma": [1, 30]},
]


def test_steps_are_applied_in_order():
    first, second = MotionBlur(length=5), GaussianNoise(sigma=20)
    result, record = Sequence([first, second])(IMAGE, 9)
    assert record.ops == ("MotionBlur", "GaussianNoise")
    blurred = MotionBlur.apply(IMAGE, record.steps[0])
    assert torch.equal(result, GaussianNoise.apply(blurred, record.steps[1]))


def test_nested_pipelines_leave_a_flat_record():
    _, record = Sequence([{"type": "Sequence", "steps": STEPS}, {"type": "LowLight"}])(IMAGE, 0)
    assert {"Haze", "GaussianNoise", "LowLight"} <= set(record.ops)
    assert not {"Sequence", "Maybe", "OneOf"} & set(record.ops)


@pytest.mark.parametrize(
    ("index", "replacement"),
    [
        (0, {"type": "Haze", "beta": 2.0}),
        (0, {"type": "LowLight"}),
        (1, {"type": "Maybe", "p": 0.0, "step": {"type": "MotionBlur"}}),
        (2, {"type": "GaussianNoise"}),
    ],
)
def test_editing_one_step_leaves_the_draws_of_the_others_alone(index, replacement):
    edited = copy.deepcopy(STEPS)
    edited[index] = replacement
    for seed in range(5):
        before = [step.draw_of(seed) for step in with_draws(STEPS)]
        after = [step.draw_of(seed) for step in with_draws(edited)]
        assert before[:index] + before[index + 1 :] == after[:index] + after[index + 1 :]
        assert Sequence(STEPS).draw(seed, (16, 20))[-1] == Sequence(edited).draw(seed, (16, 20))[-1]


class Peek:
    """The draws of one child of a sequence, seen through a sequence whose other children never apply."""

    def __init__(self, steps, index):
        silent = [{"type": "Maybe", "p": 0.0, "step": step} for step in steps]
        silent[index] = steps[index]
        self.sequence = Sequence(silent)

    def draw_of(self, seed):
        return self.sequence.draw(seed, (16, 20))


def with_draws(steps):
    return [Peek(steps, index) for index in range(len(steps))]


def test_two_equal_steps_draw_differently():
    _, record = Sequence([{"type": "GaussianNoise"}, {"type": "GaussianNoise"}])(IMAGE, 0)
    assert record.steps[0]["sigma_255"] != record.steps[1]["sigma_255"]
    assert record.steps[0]["seed"] != record.steps[1]["seed"]


def test_maybe_applies_as_often_as_asked():
    maybe = Maybe({"type": "MotionBlur"}, p=0.3)
    assert abs(np.mean([len(maybe.draw(seed, (8, 8))) for seed in range(1000)]) - 0.3) < 0.05


def test_maybe_that_does_nothing_records_a_clean_image():
    result, record = Maybe({"type": "MotionBlur"}, p=0.0)(IMAGE, 0)
    assert record.is_clean
    assert torch.equal(result, IMAGE)


def test_one_of_follows_its_weights():
    one_of = OneOf([{"type": "LowLight"}, {"type": "MotionBlur"}, {"type": "Haze"}], weights=[3, 1, 0])
    ops = [one_of.draw(seed, (8, 8))[0]["op"] for seed in range(1000)]
    assert abs(ops.count("LowLight") / 1000 - 0.75) < 0.05
    assert ops.count("Haze") == 0


def test_one_of_is_even_without_weights():
    one_of = OneOf([{"type": "LowLight"}, {"type": "MotionBlur"}])
    picked = [one_of.draw(seed, (8, 8))[0]["op"] == "LowLight" for seed in range(1000)]
    assert abs(np.mean(picked) - 0.5) < 0.05


def test_mappings_are_not_changed():
    steps = copy.deepcopy(STEPS)
    build(DEGRADATION_REGISTRY, {"type": "Sequence", "steps": steps})
    assert steps == STEPS


def test_children_are_declared_for_the_checks_of_option_files():
    place = PLACES["degradations"]
    assert class_keys(place, Sequence).keys["steps"].node == ListOf(place)
    assert class_keys(place, OneOf).keys["steps"].node == ListOf(place)
    assert class_keys(place, Maybe).keys["step"].node == place


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sequence([]), r"Sequence\.steps: expected a list of at least one"),
        (lambda: Sequence({"type": "Haze"}), r"Sequence\.steps: expected a list"),
        (lambda: Sequence(["Haze"]), r"Sequence\.steps\[0\]: expected a \{type: \.\.\.\} mapping"),
        (lambda: Sequence([{"type": "Haze"}, {"type": "Hase"}]), r"steps\[1\]: .*nearest: Haze"),
        (lambda: Sequence([{"type": "Haze", "beta": -1}]), r"Sequence\.steps\[0\]: Haze\.beta: must be at least 0"),
        (lambda: Sequence([{"type": "Haze", "bata": 1}]), r"Sequence\.steps\[0\]: .*bata"),
        (lambda: Sequence([{"beta": 1}]), r"Sequence\.steps\[0\]: .*`type` is missing"),
        (lambda: Maybe({"type": "Haze"}, p=1.5), r"Maybe\.p: must be between 0 and 1, got 1\.5"),
        (lambda: OneOf([{"type": "Haze"}], weights=[1, 2]), r"OneOf\.weights: expected a list of 1 numbers"),
        (lambda: OneOf([{"type": "Haze"}], weights=[-1]), r"OneOf\.weights: .*at least 0, got -1"),
        (lambda: OneOf([{"type": "Haze"}], weights=[0]), r"OneOf\.weights: at least one must be above 0"),
    ],
)
def test_mistakes_are_named_with_their_place(make, message):
    with pytest.raises(ValueError, match=message):
        make()
