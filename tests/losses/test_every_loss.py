"""What every registered loss must do, whatever it measures."""

import sys
from pathlib import Path

import pytest
import torch

from uir.registry import LOSS_REGISTRY
from uir.registry.components import build

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from loss_configs import LOSSES

# those that compare logits with labels, or codes, have tests of their own
OWN = [
    name
    for name in LOSS_REGISTRY.keys()  # noqa: SIM118
    if LOSS_REGISTRY.get(name).__module__.startswith("uir.")
    and not LOSS_REGISTRY.get(name).__module__.endswith("classification_loss")
    and not hasattr(LOSS_REGISTRY.get(name), "inputs")
]


class Subject:
    """A loss under test, called alike whether or not it has a target or returns a tuple."""

    def __init__(self, name, vgg11_weights):
        if name not in LOSSES:
            pytest.fail(f"{name} has no small configuration; add one to tests/loss_configs.py")
        self.name = name
        self.config = LOSSES[name]
        self.extra = {"weights": str(vgg11_weights)} if self.config.vgg_layers else {}

    def build(self, **arguments):
        return build(LOSS_REGISTRY, {"type": self.name, **self.config.arguments, **self.extra, **arguments})

    def value(self, prediction, target, **arguments):
        loss = self.build(**arguments)
        result = loss(prediction) if self.config.at_equality is None else loss(prediction, target)
        return result[0] if isinstance(result, tuple) else result


@pytest.fixture(params=OWN)
def subject(request, vgg11_weights):
    return Subject(request.param, vgg11_weights)


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 9, 11, generator=generator), torch.rand(2, 3, 9, 11, generator=generator)


def test_is_a_finite_scalar(subject, pair):
    value = subject.value(*pair)
    assert value.shape == ()
    assert value.isfinite()


def test_gradient_is_finite_and_a_step_against_it_lowers_the_loss(subject, pair):
    prediction = pair[0].clone().requires_grad_()
    value = subject.value(prediction, pair[1])
    value.backward()
    assert prediction.grad.isfinite().all()
    step = 1e-3 * prediction.grad / prediction.grad.abs().max()
    assert subject.value(prediction.detach() - step, pair[1]) < value


def test_target_gets_no_harm(subject, pair):
    prediction, target = pair[0].clone(), pair[1].clone()
    subject.value(prediction, target)
    torch.testing.assert_close((prediction, target), pair, rtol=0, atol=0)


def test_weight_scales_it(subject, pair):
    once = subject.value(*pair, **{subject.config.weight_argument: 1.0})
    torch.testing.assert_close(subject.value(*pair, **{subject.config.weight_argument: 2.5}), 2.5 * once)


def test_value_at_equality(subject, pair):
    if subject.config.at_equality is None:
        flat = torch.full_like(pair[0], 0.5)
        assert subject.value(flat, None) == 0
    else:
        value = subject.value(pair[1].clone(), pair[1]).item()
        assert value == pytest.approx(subject.config.at_equality, abs=1e-6)


def test_gradient_at_equality_is_finite(subject, pair):
    prediction = pair[1].clone().requires_grad_()
    subject.value(prediction, pair[1]).backward()
    assert prediction.grad.isfinite().all()


def test_shapes_that_differ_are_refused(subject, pair):
    if subject.config.at_equality is None:
        pytest.skip("it has no target that could differ")
    with pytest.raises(ValueError, match=r"\[2, 3, 9, 11\] .* \[1, 3, 9, 11\]"):
        subject.value(pair[0], pair[1][:1])


def test_bfloat16_prediction_is_measured_in_full_precision(subject, pair):
    rounded = pair[0].to(torch.bfloat16)
    value = subject.value(rounded, pair[1])
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, subject.value(rounded.float(), pair[1]))
    torch.testing.assert_close(value, subject.value(*pair), rtol=0.02, atol=0)


def test_memory_layout_does_not_matter(subject, pair):
    channels_last = [image.to(memory_format=torch.channels_last) for image in pair]
    torch.testing.assert_close(subject.value(*channels_last), subject.value(*pair))


def test_building_leaves_the_global_random_state_alone(subject):
    before = torch.random.get_rng_state()
    subject.build()
    assert torch.equal(torch.random.get_rng_state(), before)
