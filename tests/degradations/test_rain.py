"""Rain streaks: the additive layer and the shape of a streak."""

import math

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from uir.degradations.filters import line_kernel
from uir.degradations.rain_degradation import DROP_KERNEL, RainStreaks, streak_kernels, streaks
from uir.seeds import torch_generator


def streak(length: float, angle: float, width: int) -> np.ndarray:
    """The shape that one drop is smeared into."""
    shape = np.pad(np.ones((1, 1)), 30)
    for kernel in streak_kernels(length, angle, width):
        shape = ndimage.correlate(shape, kernel.double().numpy())
    return shape


IMAGE = 0.6 * torch.rand(3, 60, 70, generator=torch.Generator().manual_seed(0))


def test_rain_is_added_and_never_darkens():
    rainy, record = RainStreaks()(IMAGE, 2)
    layer = streaks(record.steps[0], (60, 70))
    assert layer.min() >= 0
    torch.testing.assert_close(rainy, (IMAGE + layer).clamp(max=1))
    assert (rainy >= IMAGE).all()


def test_rain_is_alike_in_all_channels():
    rainy, _ = RainStreaks(strength=0.3)(IMAGE, 2)
    added = rainy - IMAGE
    torch.testing.assert_close(added[0], added[2], rtol=0, atol=1e-6)


def test_layer_is_the_published_recipe():
    params = {"amount": 80.0, "length_px": 11.0, "angle_deg": 20.0, "width_px": 3, "strength": 1.0, "seed": 5}
    shape = streak(11.0, 20.0, 3)
    margin = 1 + 1 + 5  # half the sides of the drop, of the Gaussian and of the line
    noise = 256 * torch.rand(1, 60 + 2 * margin, 70 + 2 * margin, generator=torch_generator(5)).double().numpy()[0]
    noise[noise <= 256 - 0.8] = 0
    smeared = ndimage.correlate(ndimage.correlate(noise, DROP_KERNEL.numpy()), shape)[margin:-margin, margin:-margin]
    expected = (smeared - smeared.min()) / (smeared.max() - smeared.min())
    np.testing.assert_allclose(streaks(params, (60, 70))[0].numpy(), expected, atol=1e-5)


def test_background_stays_exactly_as_it_was():
    layer = streaks(RainStreaks(amount=20, width=3).sample(1, (128, 128)), (128, 128))
    assert (layer == 0).float().mean() > 0.5


def test_strength_is_the_brightest_streak():
    assert streaks(RainStreaks(strength=0.4).sample(0, (64, 64)), (64, 64)).max().item() == pytest.approx(0.4)


def test_no_drops_no_rain():
    assert torch.equal(RainStreaks(amount=0)(IMAGE, 0)[0], IMAGE)


def test_more_amount_more_rain():
    light, heavy = (RainStreaks(amount=v, length=20, angle=0, width=3)(IMAGE, 0)[0].mean() for v in (20, 200))
    assert heavy > light


@pytest.mark.parametrize("width", [1, 3, 7, 11])
def test_streak_is_a_line_widened_as_opencv_does_it(width):
    sigma = 0.3 * ((width - 1) / 2 - 1) + 0.8
    line = np.pad(line_kernel(21, 110).double().numpy(), 20)
    expected = cv2.GaussianBlur(line, (width, width), sigma, borderType=cv2.BORDER_CONSTANT)
    np.testing.assert_allclose(streak(21, 20, width), expected, atol=1e-7)
    assert streak(21, 20, width).sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("angle", [-40, 0, 25])
def test_streak_leans_its_lower_end_to_the_right(angle):
    right, down = np.arange(-30, 31)[None, :], np.arange(-30, 31)[:, None]
    kernel = streak(31, angle, 3)
    slope = (kernel * right * down).sum() / (kernel * down * down).sum()
    assert math.degrees(math.atan(slope)) == pytest.approx(angle, abs=1.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 4}, r"RainStreaks\.width: expected an odd number"),
        ({"width": [3, 7]}, r"RainStreaks\.width: expected an odd number"),
        ({"width": 3.5}, "whole number"),
        ({"length": 0.5}, r"RainStreaks\.length: must be at least 1"),
        ({"amount": -3}, r"RainStreaks\.amount"),
        ({"strength": 2}, r"RainStreaks\.strength"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        RainStreaks(**arguments)
