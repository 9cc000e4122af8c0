"""Adversarial losses against their formulas; the published numbers are in tests/parity."""

import math

import pytest
import torch

from uir.losses.gan_loss import GANLoss, relative


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 1, 4, 5, generator=generator), torch.randn(2, 1, 4, 5, generator=generator)


def test_relativistic_losses_of_equal_logits_are_log_2(logits):
    loss, (real, _) = GANLoss("vanilla"), logits
    flat = torch.full_like(real, 0.7)
    of_generator = (loss(relative(flat, flat), False) + loss(relative(flat, flat), True)) / 2
    assert of_generator.item() == pytest.approx(math.log(2), abs=1e-6)
    assert loss(relative(flat, flat), True, is_disc=True).item() == pytest.approx(0.693147, abs=1e-6)


def test_hinge_discriminator_wants_a_margin_of_one():
    loss = GANLoss("hinge")
    assert loss(torch.tensor([1.0, 2.0]), True, is_disc=True) == 0
    assert loss(torch.tensor([0.25]), True, is_disc=True) == 0.75
    assert loss(torch.tensor([0.25]), False, is_disc=True) == 1.25


@pytest.mark.parametrize("kind", ["vanilla", "lsgan", "wgan", "wgan_softplus", "hinge"])
def test_weight_counts_for_the_generator_alone(logits, kind):
    weighted, plain = GANLoss(kind, loss_weight=0.1), GANLoss(kind)
    torch.testing.assert_close(weighted(logits[0]), 0.1 * plain(logits[0]))
    assert weighted(logits[0], False, is_disc=True) == plain(logits[0], False, is_disc=True)


def test_scales_count_equally(logits):
    loss, (one, other) = GANLoss("lsgan"), logits
    small = other[..., :2, :2]
    torch.testing.assert_close(loss([one, small]), (loss(one) + loss(small)) / 2)


def test_relative_logits_of_several_scales(logits):
    both = relative([logits[0], logits[1]], [logits[1], logits[0]])
    torch.testing.assert_close(both[1], logits[1] - logits[0].mean())


def test_different_numbers_of_scales_are_refused(logits):
    with pytest.raises(ValueError, match="the same number of scales"):
        relative([logits[0]], [logits[0], logits[1]])


def test_unknown_type_is_refused():
    with pytest.raises(ValueError, match=r"gan_type: expected vanilla, .*, got 'ragan'"):
        GANLoss("ragan")
