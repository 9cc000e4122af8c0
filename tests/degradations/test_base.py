"""Calling, replaying, and degradations of one's own."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from uir.degradations.base import Degradation, replay, step_output_size
from uir.degradations.noise_degradation import GaussianNoise
from uir.degradations.pipeline_degradation import Sequence
from uir.degradations.record import DegradationRecord
from uir.registry import DEGRADATION_REGISTRY, UnknownNameError

IMAGE = torch.rand(3, 16, 20, generator=torch.Generator().manual_seed(0))


class Halve(Degradation):
    """Every second pixel; a degradation that changes the size."""

    def sample(self, seed: int, size: tuple[int, int]) -> dict:
        return {"height_px": size[0], "width_px": size[1]}

    @staticmethod
    def apply(image: Tensor, params: Mapping) -> Tensor:
        assert image.shape[-2:] == (params["height_px"], params["width_px"])
        return image[..., ::2, ::2]

    @staticmethod
    def output_size(params: Mapping, size: tuple[int, int]) -> tuple[int, int]:
        return (size[0] + 1) // 2, (size[1] + 1) // 2


@pytest.fixture
def halve(monkeypatch):
    monkeypatch.setitem(DEGRADATION_REGISTRY._objects["plugin"], "Halve", Halve)
    return Halve()


def test_label_and_seed_stand_in_the_record():
    _, record = GaussianNoise()(IMAGE, 11, label="noise")
    assert (record.seed, record.label) == (11, "noise")


def test_unknown_history_cannot_be_replayed():
    with pytest.raises(ValueError, match="unknown"):
        replay(DegradationRecord(None), IMAGE)


def test_clean_history_replays_to_a_copy():
    result = replay(DegradationRecord(()), IMAGE)
    assert torch.equal(result, IMAGE)
    assert result.data_ptr() != IMAGE.data_ptr()


def test_replay_needs_a_registered_op():
    with pytest.raises(UnknownNameError, match="nearest: GaussianNoise"):
        replay(DegradationRecord(({"op": "GausianNoise"},)), IMAGE)


def test_replay_names_a_missing_parameter():
    with pytest.raises(ValueError, match="GaussianNoise: the recorded step lacks the parameter 'seed'"):
        replay(DegradationRecord(({"op": "GaussianNoise", "sigma_255": 1.0, "grey": False, "clip": True},)), IMAGE)


def test_replay_needs_no_configuration():
    step = {"op": "LowLight", "alpha": 1.0, "beta": 0.5, "gamma": 2.0, "noise_sigma_255": 0.0}
    torch.testing.assert_close(replay(DegradationRecord((step,)), IMAGE), 0.5 * IMAGE**2)


def test_unregistered_class_is_refused_when_called():
    with pytest.raises(ValueError, match=r"Halve .*is not registered.*DEGRADATION_REGISTRY\.register"):
        Halve()(IMAGE, 0)


def test_own_op_needs_sample_and_apply_alone(halve):
    result, record = halve(IMAGE, 0)
    assert torch.equal(result, IMAGE[:, ::2, ::2])
    assert record.steps == ({"op": "Halve", "height_px": 16, "width_px": 20},)
    assert step_output_size(record.steps[0], (16, 20)) == (8, 10)


def test_steps_behind_a_change_of_size_are_told_the_new_size(halve):
    inner = Sequence([halve, GaussianNoise(sigma=1)])
    result, record = Sequence([inner, halve])(IMAGE, 0)
    assert result.shape == (3, 4, 5)
    assert [step.get("height_px") for step in record.steps] == [16, None, 8]


def test_own_op_that_shadows_ours_does_not_take_over_our_records(monkeypatch):
    shadow = type("GaussianNoise", (Halve,), {"__module__": "plugin"})
    monkeypatch.setitem(DEGRADATION_REGISTRY._objects["plugin"], "GaussianNoise", shadow)
    result, record = GaussianNoise(sigma=10)(IMAGE, 0)
    assert record.ops == ("uir:GaussianNoise",)
    assert torch.equal(replay(record, IMAGE), result)
    assert shadow()(IMAGE, 0)[1].ops == ("GaussianNoise",)


def test_gradients_pass_through():
    image = IMAGE.clone().requires_grad_()
    pipeline = [{"type": name} for name in ("LowLight", "Haze", "MotionBlur", "RainStreaks", "GaussianNoise")]
    Sequence(pipeline)(image, 0)[0].sum().backward()
    assert torch.isfinite(image.grad).all()
    assert image.grad.abs().sum() > 0


@pytest.mark.parametrize("value", [[], "much", {}])
def test_a_recorded_value_of_a_wrong_kind_is_refused(value: object) -> None:
    record = DegradationRecord([{"op": "JPEG", "quality": value}], 1)
    with pytest.raises(ValueError, match="replay: a value of the record does not fit"):
        replay(record, torch.rand(3, 16, 16))
