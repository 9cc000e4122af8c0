"""Penalties on a discriminator's gradient, for discriminators whose gradient is known."""

import pytest
import torch
from torch import nn

from uir.losses.gan_penalty_loss import GradientPenaltyLoss, R1Loss

SLOPE = torch.tensor([0.5, -1.0, 2.0]).view(1, 3, 1, 1)


class Linear(nn.Module):
    """Σ of slope · image: its gradient is the slope at every pixel."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, image):
        return (self.gain * SLOPE * image).sum((1, 2, 3))[:, None]


@pytest.fixture
def images():
    return torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))


SQUARED_NORM = 20 * (0.25 + 1 + 4)  # of the gradient of an image of 20 pixels


def test_r1_is_half_of_the_squared_norm(images):
    assert R1Loss(loss_weight=3)(Linear(), images).item() == pytest.approx(1.5 * SQUARED_NORM)


def test_r1_teaches_the_discriminator(images):
    network = Linear()
    R1Loss(loss_weight=2)(network, images).backward()
    assert network.gain.grad.item() == pytest.approx(2 * SQUARED_NORM)


def test_r1_of_every_third_step_counts_three_times(images):
    loss, network = R1Loss(loss_weight=2, every=3), Linear()
    assert [round(loss(network, images).item(), 3) for _ in range(3)] == [0, 0, 3 * SQUARED_NORM]


def test_gradient_penalty_is_of_the_norm_of_an_image(images):
    value = GradientPenaltyLoss(loss_weight=10)(Linear(), images, images.flip(0)).item()
    assert value == pytest.approx(10 * (SQUARED_NORM**0.5 - 1) ** 2, rel=1e-5)


def test_legacy_takes_the_norm_of_each_pixel(images):
    value = GradientPenaltyLoss(loss_weight=10, legacy=True)(Linear(), images, images.flip(0)).item()
    assert value == pytest.approx(10 * (5.25**0.5 - 1) ** 2, rel=1e-5)


def test_points_between_the_images_go_on_from_a_kept_state(images):
    def square(image):
        return image.square().sum((1, 2, 3))

    first, second = GradientPenaltyLoss(), GradientPenaltyLoss()
    values = [first(square, images, images.flip(0)).item() for _ in range(2)]
    second.load_kept_state({"steps": 1})
    assert values[0] != values[1]
    assert second(square, images, images.flip(0)).item() == values[1]


def test_scales_are_summed(images):
    one = R1Loss(loss_weight=2)(Linear(), images)
    two = R1Loss(loss_weight=2)(lambda image: [Linear()(image), Linear()(image)], images)
    torch.testing.assert_close(two, 4 * one)


def test_images_of_different_shapes_are_refused(images):
    with pytest.raises(ValueError, match="images of equal shape"):
        GradientPenaltyLoss()(Linear(), images, images[:1])
