"""Tone and colour, against scikit-image and closed forms."""

import numpy as np
import pytest
import torch
from skimage import color

from uir.degradations.exposure_degradation import (
    Brightness,
    Contrast,
    Exposure,
    Gamma,
    Saturation,
    channel_mean,
    to_linear,
    to_srgb,
)

IMAGE = 0.02 + 0.95 * torch.rand(3, 37, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def in_hsv(change) -> torch.Tensor:
    hsv = color.rgb2hsv(IMAGE.permute(1, 2, 0).numpy())
    change(hsv)
    return torch.from_numpy(color.hsv2rgb(np.clip(hsv, 0, 1))).permute(2, 0, 1)


@pytest.mark.parametrize("amount", [0.1, 0.5, -0.2])
def test_brightness_adds_to_the_value_of_hsv(amount):
    def change(hsv):
        hsv[..., 2] += amount

    torch.testing.assert_close(Brightness(amount)(IMAGE, 0)[0], in_hsv(change), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("factor", "offset"), [(0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)])
def test_saturation_scales_that_of_hsv(factor, offset):
    def change(hsv):
        hsv[..., 1] = hsv[..., 1] * factor + offset

    torch.testing.assert_close(Saturation(factor, offset)(IMAGE, 0)[0], in_hsv(change), rtol=0, atol=1e-9)


def test_black_and_grey_have_no_hue():
    flat = torch.tensor([0.0, 0.4, 1.0]).expand(3, 1, 3)
    torch.testing.assert_close(Brightness(0.2)(flat, 0)[0], torch.tensor([0.2, 0.6, 1.0]).expand(3, 1, 3))
    torch.testing.assert_close(Saturation(5, 0.3)(flat, 0)[0], flat)


def test_contrast_shrinks_towards_the_mean():
    result, _ = Contrast(0.3)(IMAGE, 0)
    mean = IMAGE.mean(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(result, mean + 0.3 * (IMAGE - mean))
    torch.testing.assert_close(Contrast(0)(IMAGE, 0)[0], mean.expand_as(IMAGE))


def test_contrast_of_a_batch_is_that_of_each_image():
    batch = torch.stack([IMAGE, IMAGE.flip(-1) ** 2]).float()
    result, _ = Contrast(0.2)(batch, 0)
    assert torch.equal(result[1], Contrast(0.2)(batch[1], 0)[0])
    torch.testing.assert_close(channel_mean(batch), batch.mean(dim=(-2, -1), keepdim=True))


def test_the_srgb_curve_is_that_of_scikit_image():
    pixels = torch.linspace(0, 1, 301, dtype=torch.float64).reshape(1, 1, -1).expand(3, 1, -1)
    curve = color.rgb2xyz(pixels.permute(1, 2, 0).numpy())[..., 1]  # the luminance of a grey is its linear light
    torch.testing.assert_close(to_linear(pixels)[0], torch.from_numpy(curve), rtol=0, atol=1e-6)
    torch.testing.assert_close(to_srgb(to_linear(pixels)), pixels, rtol=0, atol=1e-7)


def test_a_stop_doubles_the_light():
    dark = 0.5 * IMAGE
    lighter, _ = Exposure(1.0)(dark, 0)
    torch.testing.assert_close(to_linear(lighter), 2 * to_linear(dark), rtol=0, atol=1e-7)
    torch.testing.assert_close(Exposure(-1.0)(lighter, 0)[0], dark, rtol=0, atol=1e-7)
    assert (Exposure(16)(IMAGE, 0)[0] == 1).all()


def test_gamma_is_a_power():
    torch.testing.assert_close(Gamma(2.2)(IMAGE, 0)[0], IMAGE**2.2)
    assert torch.equal(Gamma(0.05)(torch.zeros(3, 4, 4), 0)[0], torch.zeros(3, 4, 4))


@pytest.mark.parametrize("op", [Brightness(0), Contrast(1), Saturation(1), Exposure(0), Gamma(1)])
def test_nothing_asked_nothing_changed(op):
    torch.testing.assert_close(op(IMAGE, 0)[0], IMAGE, rtol=0, atol=1e-7)
    assert op.severity(op.sample(0, (8, 8))) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Brightness(1.5), r"Brightness\.shift: must be between -1 and 1"),
        (lambda: Contrast(-0.1), r"Contrast\.factor: must be at least 0"),
        (lambda: Saturation(offset=[1, 0]), r"Saturation\.offset: the range"),
        (lambda: Exposure("dark"), r"Exposure\.ev: expected a number"),
        (lambda: Gamma(0), r"Gamma\.gamma: must be at least 0\.01"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
