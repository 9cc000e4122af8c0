"""Values by name: computed once, again with gradients for another objective, handed on without them otherwise."""

from __future__ import annotations

import torch

from uir.layers.degradation_code import DegradationCode
from uir.models.values import Values, without_gradients


class Counted:
    """A value that a network has made, and how often."""

    def __init__(self) -> None:
        self.weight, self.calls = torch.ones(1, requires_grad=True), 0

    def __call__(self) -> torch.Tensor:
        self.calls += 1
        return self.weight * 2


def test_a_value_is_computed_once_an_objective() -> None:
    values, made = Values(), Counted()
    values.start_objective({"g"})
    assert values.get("restored", made, frozenset("g")) is values.get("restored", made, frozenset("g"))
    assert made.calls == 1


def test_the_objective_that_trains_its_network_gets_gradients_and_the_next_does_not() -> None:
    values, made = Values(), Counted()
    values.start_objective({"g"})
    assert values.get("restored", made, frozenset("g")).requires_grad
    values.start_objective({"d"})
    assert not values.get("restored", made, frozenset("g")).requires_grad
    assert made.calls == 1
    values.start_objective({"g"})
    assert values.get("restored", made, frozenset("g")).requires_grad
    assert made.calls == 2


def test_a_value_made_of_another_runs_the_networks_of_both() -> None:
    values, restored, judged = Values(), Counted(), Counted()

    def judge() -> torch.Tensor:
        return values.get("restored", restored, frozenset("g")) + judged()

    values.start_objective({"d"})
    values.get("fake", judge, frozenset("d"))
    values.start_objective({"g"})
    assert values.get("fake", judge, frozenset("d")).requires_grad  # it runs g, which is trained now
    assert (restored.calls, judged.calls) == (2, 2)
    values.start_objective({"e"})
    values.get("fake", judge, frozenset("d"))
    assert judged.calls == 2


def test_another_batch_starts_with_nothing() -> None:
    values, made = Values(), Counted()
    values.get("restored", made, frozenset())
    values.clear()
    values.get("restored", made, frozenset())
    assert made.calls == 2


def test_codes_and_nests_are_cut_off_from_what_made_them() -> None:
    tensor = torch.ones(1, requires_grad=True) * 2
    nest = without_gradients({"code": DegradationCode(vector=tensor), "list": [tensor, (tensor, "text")]})
    assert not nest["code"].vector.requires_grad
    assert not nest["list"][0].requires_grad
    assert not nest["list"][1][0].requires_grad
    assert nest["list"][1][1] == "text"
