"""Steps that minimise several sums in turn: whose gradients, whose clipping, whose rates, and when."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from duel_model import GAIN, Duel, duel, gains, step
from torch import nn

from uir.models.objectives import Objective, frozen


def test_each_network_steps_by_its_own_loss_at_its_own_rate() -> None:
    model = duel()
    step(model)
    assert gains(model) == pytest.approx((GAIN - 0.1 * GAIN * 3, GAIN - 0.2 * 2 * GAIN))
    assert model.get_current_log() == pytest.approx({"l_g": GAIN * GAIN * 3, "l_d": GAIN * GAIN})


def test_the_others_are_frozen_meanwhile_and_free_afterwards() -> None:
    model = duel()
    step(model)
    assert not model.d_needed_gradient
    assert model.bare["d"].gain.requires_grad
    assert model.bare["g"].gain.requires_grad


def test_an_objective_sees_the_step_of_the_one_before() -> None:
    class Reversed(Duel):
        order = ("d", "g")

    model = duel(Reversed)
    step(model)
    d = GAIN - 0.2 * 2 * GAIN
    assert gains(model) == pytest.approx((GAIN - 0.1 * d * 3, d))


def test_two_steps_of_one_network_in_an_iteration() -> None:
    class Twice(Duel):
        order = ("d", "d", "g")

    model = duel(Twice)
    step(model)
    assert gains(model)[1] == pytest.approx(GAIN * (1 - 0.4) ** 2)


def test_gradients_may_be_kept_for_the_next_objective_of_the_same_network() -> None:
    class Kept(Duel):
        order = ("d",)

        def objectives(self) -> Iterator[Objective]:
            yield Objective(self.losses_d, ("d",), step=False)
            yield Objective(self.losses_d, ("d",))

    model = duel(Kept)
    step(model)
    assert gains(model)[1] == pytest.approx(GAIN - 0.2 * 2 * 2 * GAIN)


def test_accumulation_averages_each_objective() -> None:
    model = duel(accumulate=2)
    step(model, 3.0)
    assert gains(model) == (GAIN, GAIN)
    step(model, 5.0)
    assert gains(model) == pytest.approx((GAIN - 0.1 * GAIN * 4, GAIN - 0.2 * 2 * GAIN))


def test_two_steps_of_one_network_do_not_go_with_accumulation() -> None:
    class Twice(Duel):
        order = ("d", "d", "g")

    with pytest.raises(ValueError, match=r"train.accumulate: Twice steps network_d twice an iteration"):
        step(duel(Twice, accumulate=2))


def test_clipping_of_one_network_alone() -> None:
    model = duel(grad_clip_d=0.25)
    step(model)
    assert gains(model) == pytest.approx((GAIN - 0.1 * GAIN * 3, GAIN - 0.2 * 0.25))


def test_a_schedule_of_one_network_alone() -> None:
    milestones = {"type": "MultiStepLR", "milestones": [1], "gamma": 0.5}
    model = duel(scheduler=milestones, scheduler_d={"type": "ConstantLR", "factor": 1.0})
    model.update_learning_rate(1)
    model.update_learning_rate(2)
    assert [optimizer.param_groups[0]["lr"] for optimizer in model.optimizers] == [0.05, 0.2]


@pytest.mark.parametrize(("spoiled", "kept"), [("g", 0), ("d", 1)])
def test_a_loss_that_is_not_finite_skips_the_step_of_its_own_network(spoiled: str, kept: int) -> None:
    model = duel(type("Spoilt", (Duel,), {"spoil": spoiled}), ema_decay=0.5)
    step(model)
    after = gains(model)
    assert after[kept] == GAIN
    assert after[1 - kept] != GAIN
    assert model.nonfinite_in_a_row == 1
    assert (model.ema["g"].module.gain.item() == GAIN) == (spoiled == "g")


def test_a_network_that_is_unknown_is_told() -> None:
    class Unknown(Duel):
        def objectives(self) -> Iterator[Objective]:
            yield Objective(self.losses_g, ("e",))

    with pytest.raises(ValueError, match="an objective trains 'e', which is not its network"):
        step(duel(Unknown))


def test_freezing_leaves_what_was_frozen_before_frozen() -> None:
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    with frozen([layer]):
        assert not layer.weight.requires_grad
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad
