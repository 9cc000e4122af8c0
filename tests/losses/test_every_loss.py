"""What every registered loss must do, whatever it is called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from loss_configs import DECLARED, LOSSES, OF_DISCRIMINATORS, LossConfig, input_names, made_values
from torch import Tensor

from uir.data.scenes_dataset import ScenesDataset
from uir.layers.degradation_code import DegradationCode
from uir.models.adversarial_model import SRGANModel
from uir.models.blind_sr_model import BlindSRModel
from uir.models.idr_model import IDRModel
from uir.models.moce_ir_model import MoCEIRModel
from uir.models.onerestore_model import OneRestoreModel
from uir.models.values import offers_of
from uir.registry import LOSS_REGISTRY
from uir.registry.components import build

CLASSES = {name: cls for name, cls in LOSS_REGISTRY if cls.__module__.startswith("uir.")}
# Penalties of a discriminator are called with it; test_gan_penalties.py tests them.
OWN = [name for name, cls in CLASSES.items() if not hasattr(cls, "minimised_by")]
COMPARING = [name for name in OWN if name in LOSSES and len(input_names(name)) > 1]
ON_IMAGES = [name for name in COMPARING if LOSSES[name].at_equality is not None]


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same value, each of its tensors changed."""
    if isinstance(value, list):
        return [mapped(entry, change) for entry in value]
    return value.apply(change) if isinstance(value, DegradationCode) else change(value)


def tensors_of(values: Any) -> list[Tensor]:
    """All tensors within, in order."""
    seen: list[Tensor] = []
    mapped(values, lambda tensor: seen.append(tensor) or tensor)
    return seen


def learnable(tensor: Tensor) -> Tensor:
    return tensor.clone().requires_grad_() if tensor.is_floating_point() else tensor


def strided(tensor: Tensor) -> Tensor:
    """The same numbers, every second place of a larger tensor whose first and last dimension are swapped."""
    swapped = tensor.transpose(0, -1).repeat_interleave(2, 0).contiguous()
    return swapped[::2].transpose(0, -1)


class Subject:
    """A loss under test."""

    def __init__(self, name: str, vgg11_weights: Any) -> None:
        if name not in LOSSES:
            pytest.fail(f"{name} has no small configuration; add one to tests/loss_configs.py")
        if name == "LPIPSLoss":
            pytest.importorskip(
                "lpips", reason="lpips, whose package holds the weights of the layers, is not installed"
            )
        self.name = name
        self.config: LossConfig = LOSSES[name]
        self.values = made_values(name)
        self.extra = {"weights": str(vgg11_weights)} if self.config.vgg_layers else {}

    def build(self, **arguments: Any) -> Any:
        return build(LOSS_REGISTRY, {"type": self.name, **self.config.arguments, **self.extra, **arguments})

    def value(self, values: list[Any], **arguments: Any) -> Tensor:
        result = self.build(**arguments)(*values)
        return result[0] if isinstance(result, tuple) else result


@pytest.fixture
def subject(request: pytest.FixtureRequest, vgg11_weights: Any) -> Subject:
    return Subject(request.param, vgg11_weights)


every_loss = pytest.mark.parametrize("subject", OWN, indirect=True)


@every_loss
def test_is_a_finite_scalar(subject):
    value = subject.value(subject.values)
    assert value.shape == ()
    assert value.isfinite()


@pytest.mark.thorough
@every_loss
def test_gradient_is_finite_and_a_step_against_it_lowers_the_loss(subject):
    first, *others = subject.values
    values = [mapped(first, learnable), *others]
    value = subject.value(values)
    value.backward()
    gradients = [tensor.grad for tensor in tensors_of(values) if tensor.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    largest = max(gradient.abs().max() for gradient in gradients)
    assert largest > 0

    def stepped(tensor: Tensor) -> Tensor:
        return tensor if tensor.grad is None else (tensor - 1e-3 * tensor.grad / largest).detach()

    assert subject.value(mapped(values, stepped)) < value


@every_loss
def test_inputs_get_no_harm(subject):
    values = mapped(subject.values, torch.clone)
    subject.value(values)
    for given, kept in zip(tensors_of(values), tensors_of(subject.values), strict=True):
        assert torch.equal(given, kept)


@pytest.mark.thorough
@every_loss
def test_weight_scales_it(subject):
    once, more = (subject.value(subject.values, **{subject.config.weight_argument: w}) for w in (1.0, 2.5))
    assert once != 0
    torch.testing.assert_close(more, 2.5 * once)


@pytest.mark.thorough
@every_loss
def test_bfloat16_is_measured_in_full_precision(subject):
    first, *others = subject.values
    rounded = [mapped(first, lambda tensor: tensor.bfloat16() if tensor.is_floating_point() else tensor), *others]
    value = subject.value(rounded)
    assert value.dtype == torch.float32
    as_float = [mapped(rounded[0], lambda t: t.float() if t.is_floating_point() else t), *others]
    torch.testing.assert_close(value, subject.value(as_float))
    torch.testing.assert_close(value, subject.value(subject.values), rtol=0.03, atol=0)


@pytest.mark.thorough
@every_loss
def test_memory_layout_does_not_matter(subject):
    values = mapped(subject.values, strided)
    assert not all(tensor.is_contiguous() for tensor in tensors_of(values))
    torch.testing.assert_close(subject.value(values), subject.value(subject.values))


@every_loss
def test_building_leaves_the_global_random_state_alone(subject):
    before = torch.random.get_rng_state()
    subject.build()
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("subject", COMPARING, indirect=True)
@pytest.mark.parametrize("count", [1, -1], ids=["one", "one_too_few"])
def test_shapes_that_differ_are_refused(subject, count):
    values = list(subject.values)
    values[1] = mapped(values[1], lambda tensor: tensor[:count])
    with pytest.raises(ValueError, match=r"expected|differ in shape") as refused:
        subject.value(values)
    first = tensors_of(values[:1])[0]
    assert str(len(first)) in str(refused.value)


@pytest.mark.parametrize("subject", ON_IMAGES, indirect=True)
def test_image_losses_name_both_shapes(subject):
    with pytest.raises(ValueError, match=r"\[2, 3, 12, 13\] .* \[1, 3, 12, 13\]"):
        subject.value([subject.values[0], subject.values[1][:1]])


@pytest.mark.parametrize("subject", ON_IMAGES, indirect=True)
def test_value_and_gradient_at_equality(subject):
    prediction = subject.values[1].clone().requires_grad_()
    value = subject.value([prediction, subject.values[1]])
    assert value.item() == pytest.approx(subject.config.at_equality, abs=1e-6)
    value.backward()
    assert prediction.grad.isfinite().all()


def test_a_flat_image_has_no_variation(vgg11_weights):
    flat = torch.full((2, 3, 9, 11), 0.5, requires_grad=True)
    value = Subject("WeightedTVLoss", vgg11_weights).value([flat])
    value.backward()
    assert value == 0
    assert flat.grad.isfinite().all()


def test_values_are_made_of_names_that_training_methods_offer():
    offered = {name for method in (BlindSRModel, IDRModel, MoCEIRModel, OneRestoreModel) for name in offers_of(method)}
    assert set(DECLARED) <= {*offered, *ScenesDataset.gives, "lq", "gt"}
    assert set(OF_DISCRIMINATORS) <= set(offers_of(SRGANModel))


def test_every_configured_loss_is_registered():
    assert sorted(LOSSES) == sorted(CLASSES)
