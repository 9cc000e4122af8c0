"""Rain streaks: the additive layer and the shape of a streak."""

import math

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from uir.core.seeds import torch_generator
from uir.degradations.kernels import line_kernel
from uir.degradations.rain_degradation import DROP_KERNEL, HeavyRain, RainStreaks, streak_kernels, streaks


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


def test_a_mask_that_is_read_is_added(tmp_path):
    mask = np.random.default_rng(0).random((60, 70)).astype(np.float32)
    np.save(tmp_path / "mask.npy", mask)
    rainy, record = RainStreaks(mask=tmp_path / "mask.npy", strength=0.5, clip=False)(IMAGE, 0)
    torch.testing.assert_close(rainy, IMAGE + 0.5 * torch.from_numpy(mask), rtol=0, atol=1e-6)
    assert record.steps[0]["mask_file"] == str(tmp_path / "mask.npy")


def test_clipping_is_a_choice():
    free, clipped = (RainStreaks(clip=clip)(1 - IMAGE, 0)[0] for clip in (False, True))
    assert free.max() > 1
    assert torch.equal(free.clamp(0, 1), clipped)


def test_heavy_rain_is_the_published_formula():
    rainy, record = HeavyRain(layers=3)(IMAGE, 1)
    (step,) = record.steps
    rain = sum(streaks(layer, (60, 70)) for layer in step["layers"])
    expected = step["alpha"] * (IMAGE + rain) + (1 - step["alpha"]) * step["airlight"]
    torch.testing.assert_close(rainy, expected.clamp(0, 1), rtol=0, atol=1e-6)


def test_layers_of_heavy_rain_differ():
    layers = HeavyRain(layers=5).sample(0, (60, 70))["layers"]
    assert len({layer["angle_deg"] for layer in layers}) == 5
    assert len({layer["seed"] for layer in layers}) == 5


def test_heavy_rain_without_rain_is_a_veil():
    veiled, record = HeavyRain(amount=0)(IMAGE, 0)
    alpha, airlight = record.steps[0]["alpha"], record.steps[0]["airlight"]
    torch.testing.assert_close(veiled, alpha * IMAGE + (1 - alpha) * airlight, rtol=0, atol=1e-6)


def test_severities_of_the_examples_grow():
    for op in (RainStreaks, HeavyRain):
        mild, medium, severe = (op.severity(op(**example).sample(0, (8, 8))) for example in op.severities)
        assert 0 < mild < medium < severe <= 1
    assert RainStreaks.severity(RainStreaks(amount=0).sample(0, (8, 8))) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 4}, r"RainStreaks\.width: expected an odd number"),
        ({"width": [3, 7]}, r"RainStreaks\.width: expected an odd number"),
        ({"width": 3.5}, "whole number"),
        ({"length": 0.5}, r"RainStreaks\.length: must be at least 1"),
        ({"amount": -3}, r"RainStreaks\.amount"),
        ({"strength": 2}, r"RainStreaks\.strength"),
        ({"clip": 1}, r"RainStreaks\.clip: expected true or false"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        RainStreaks(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 0}, r"HeavyRain\.layers: must be at least 1"),
        ({"layers": 1.5}, r"HeavyRain\.layers: expected a whole number"),
        ({"alpha": 1.5}, r"HeavyRain\.alpha: must be between 0 and 1"),
        ({"width": 4}, r"HeavyRain\.width: expected an odd number"),
    ],
)
def test_mistakes_in_heavy_rain_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        HeavyRain(**arguments)
