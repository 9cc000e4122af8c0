"""Steps whose loss or gradient is not finite: what is skipped, what is counted, and what stays as it was."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from duel_model import GAIN, Duel, duel, gains, step
from torch import Tensor, nn

from uir.config.options import load_options
from uir.models.base_model import NonFiniteLossError
from uir.models.building import build_model
from uir.models.objectives import Objective

Write = Callable[..., Path]


class _Spoiling(torch.autograd.Function):
    """The value as it is; its gradient is multiplied by a factor."""

    @staticmethod
    def forward(context: Any, value: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return value.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * context.factor, None


class SpoiltGradient(Duel):
    """The duel; the gradients of some networks are multiplied by a factor, their losses are finite."""

    factors: ClassVar[dict[str, float]] = {}

    def losses_g(self) -> dict[str, Tensor]:
        return self._spoilt("g", super().losses_g())

    def losses_d(self) -> dict[str, Tensor]:
        return self._spoilt("d", super().losses_d())

    def _spoilt(self, role: str, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: _Spoiling.apply(value, self.factors.get(role, 1.0)) for name, value in losses.items()}


def spoilt(role: str, factor: float = math.nan, **train: Any) -> Duel:
    return duel(type("Spoilt", (SpoiltGradient,), {"factors": {role: factor}}), **train)


@pytest.mark.parametrize("factor", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("clip", [None, 0.1, {"value": 0.1}])
@pytest.mark.parametrize(("role", "kept"), [("g", 0), ("d", 1)])
def test_a_gradient_that_is_not_finite_skips_its_own_networks_alone(
    role: str, kept: int, clip: Any, factor: float, caplog: pytest.LogCaptureFixture
) -> None:
    model = spoilt(role, factor, ema_decay=0.5, grad_clip=clip)
    with caplog.at_level(logging.WARNING, "uir"):
        step(model)
    after = gains(model)
    assert after[kept] == GAIN
    assert after[1 - kept] != GAIN
    assert all(map(math.isfinite, after))
    assert (model.ema["g"].module.gain.item() == GAIN) == (role == "g")
    assert f"iteration 1: the gradient norm of network_{role} is" in caplog.text
    assert model.step_is_spoilt
    assert model.nonfinite_in_a_row == 1


def test_both_networks_of_one_objective_skip() -> None:
    class Together(SpoiltGradient):
        def objectives(self) -> Iterator[Objective]:
            yield Objective(lambda: {**self.losses_g(), **self.losses_d()}, ("g", "d"))

    model = duel(type("Spoilt", (Together,), {"factors": {"g": math.nan}}))
    step(model)
    assert gains(model) == (GAIN, GAIN)


def test_an_optimizer_forgets_a_spoilt_gradient() -> None:
    """Moments would keep a NaN for good."""
    model = spoilt("g", optim_g={"type": "Adam", "lr": 0.1})
    step(model)
    type(model).factors = {}
    step(model)
    assert gains(model)[0] == pytest.approx(GAIN - 0.1)
    assert model.nonfinite_in_a_row == 0


def test_gradients_count_in_the_streak_that_ends_a_run() -> None:
    model = spoilt("d", max_nonfinite=3)
    step(model, times=2)
    with pytest.raises(NonFiniteLossError, match=r"the gradient norm of network_d is nan.*3 in a row"):
        step(model)


def test_another_process_decides_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here all is finite, and another process says that something is not: nobody steps."""
    flags: list[bool] = []

    def somewhere(flag: bool, device: Any) -> bool:
        flags.append(flag)
        return len(flags) in (2, 4)  # each objective asks for its loss, then for its gradients

    monkeypatch.setattr("uir.models.training_step.any_process", somewhere)
    model = duel(max_nonfinite=2)
    step(model)
    assert gains(model) == (GAIN, GAIN)
    assert flags == [False] * 4
    assert model.nonfinite_in_a_row == 1


def test_a_spoilt_micro_batch_spoils_its_step() -> None:
    model = duel(type("Spoilt", (Duel,), {"spoil": "g"}), accumulate=2)
    step(model, 3.0)
    type(model).spoil = ""
    step(model, 5.0)
    assert gains(model)[0] == GAIN
    assert gains(model)[1] == pytest.approx(GAIN - 0.2 * 2 * GAIN)
    assert model.nonfinite_in_a_row == 1
    step(model, 3.0)
    step(model, 5.0)
    assert gains(model)[0] < GAIN
    assert model.nonfinite_in_a_row == 0


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_an_accumulated_step_of_sgd_is_that_of_the_mean(accumulate: int) -> None:
    model = duel(accumulate=accumulate)
    for number in range(accumulate):
        step(model, float(number))
    mean = (accumulate - 1) / 2
    assert gains(model) == pytest.approx((GAIN - 0.1 * GAIN * mean, GAIN - 0.2 * 2 * GAIN))


# --- fp16: the scale of the loss ---


def scaled(model: Duel, scale: float) -> Duel:
    """The same model with fp16's scaler on the CPU, in whose forward pass fp32 is left as it is."""
    model.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return model


@pytest.mark.parametrize("clip", [None, 0.25])
def test_fp16_steps_like_fp32(clip: float | None) -> None:
    """Gradients lose the scale before they are clipped and judged."""
    plain, mixed = duel(grad_clip=clip), scaled(duel(grad_clip=clip), 1024.0)
    for model in (plain, mixed):
        step(model, times=2)
    assert gains(mixed) == pytest.approx(gains(plain))


def test_the_scale_is_gone_before_the_norm_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    model = scaled(duel(grad_clip=0.25), 1024.0)
    judged = []
    was = nn.utils.get_total_norm

    def norm(gradients: list[Tensor]) -> Tensor:
        judged.append([gradient.item() for gradient in gradients])
        return was(gradients)

    monkeypatch.setattr(nn.utils, "get_total_norm", norm)
    step(model)
    assert judged[0] == pytest.approx([GAIN * 3])
    assert judged[1] == pytest.approx([2 * GAIN])


def test_the_scaler_lowers_a_scale_that_is_too_large_and_nothing_is_counted() -> None:
    model = scaled(spoilt("g", 2.0**126, ema_decay=0.5), 4.0)  # 4 · 2¹²⁶ is no float32, the gradient itself is one
    step(model, value=1.0)
    assert gains(model)[0] == GAIN
    assert gains(model)[1] != GAIN  # the other network stepped
    assert model.ema["g"].module.gain.item() == GAIN
    assert model.nonfinite_in_a_row == 0
    assert not model.step_is_spoilt
    assert model.scaler.get_scale() == 2.0


def test_with_fp16_too_a_gradient_that_no_scale_makes_finite_ends_the_run() -> None:
    model = scaled(spoilt("g", math.nan, max_nonfinite=2), 4.0)
    step(model, times=3)  # 4, 2, then 1: from there on the scale is not the reason
    assert model.nonfinite_in_a_row == 1
    assert gains(model)[0] == GAIN
    with pytest.raises(NonFiniteLossError, match="network_g is nan"):
        step(model)


# --- running statistics ---


def test_a_skipped_step_leaves_no_trace_in_running_statistics(write_options: Write) -> None:
    torch.manual_seed(0)
    model: Any = build_model(load_options(write_options({"train.ema_decay": 0.5})), torch.device("cpu"))
    before = {key: value.clone() for key, value in model.bare["g"].state_dict().items()}
    data = {"lq": torch.rand(2, 3, 8, 8), "gt": torch.rand(2, 3, 16, 16)}
    model.feed_data({**data, "lq": data["lq"] * math.inf})  # as an overflow in a layer before
    model.optimize_parameters(1)
    after = model.bare["g"].state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before if before[key].is_floating_point())
    model.feed_data(data)
    model.optimize_parameters(2)
    for network in (model.bare["g"], model.ema["g"].module):
        assert all(value.isfinite().all() for value in network.state_dict().values())
        assert not torch.equal(network.state_dict()["body.1.running_mean"], before["body.1.running_mean"])
