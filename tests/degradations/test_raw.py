"""Raw noise: the pipeline's inverses, the law of the noise, the Bayer pattern."""

import math

import numpy as np
import pytest
import torch

from uir.degradations.raw_degradation import CameraISP, RawNoise
from uir.degradations.raw_pipeline import (
    add_shot_and_read_noise,
    demosaic,
    mix_colours,
    mosaic,
    to_display,
    to_linear,
    unmix_colours,
)

GREY = torch.full((3, 240, 240), 0.5)


def photograph(size: tuple[int, int] = (60, 70)) -> torch.Tensor:
    coarse = torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    return 0.1 + 0.8 * torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")[0]


def test_tone_curve_and_gamma_are_the_published_ones_and_undone():
    linear = torch.linspace(0.001, 1, 500, dtype=torch.float64)[None, None]
    encoded = linear ** (1 / 2.2)
    torch.testing.assert_close(to_display(linear), 3 * encoded**2 - 2 * encoded**3)
    torch.testing.assert_close(to_linear(to_display(linear)), linear)


def test_colours_are_unmixed_and_white_stays_white():
    image = photograph().double()
    torch.testing.assert_close(unmix_colours(mix_colours(image, 0.3), 0.3), image)
    torch.testing.assert_close(mix_colours(GREY, 0.3), GREY)
    matrix = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], dtype=torch.float64)
    torch.testing.assert_close(mix_colours(image, 0.2), torch.einsum("oc,chw->ohw", matrix, image))


def test_variance_is_linear_in_the_signal():
    z = torch.randn(1, 500, 500, generator=torch.Generator().manual_seed(0))
    for level in (0.0, 0.1, 0.9):
        noise = add_shot_and_read_noise(torch.full_like(z, level), 0.01, 0.0004, z) - level
        assert noise.var().item() == pytest.approx(0.01 * level + 0.0004, rel=0.01)


def test_pattern_is_rggb():
    colours = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1).expand(3, 4, 4)
    assert mosaic(colours)[0, :2, :2].tolist() == [[1.0, 2.0], [2.0, 3.0]]


@pytest.mark.parametrize("size", [(2, 2), (5, 4), (16, 17)])
def test_even_colours_survive_the_pattern(size):
    colours = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64).view(3, 1, 1).expand(3, *size)
    torch.testing.assert_close(demosaic(mosaic(colours)), colours.contiguous())


def test_linear_ramps_survive_the_pattern_inside():
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(10.0), indexing="ij")
    ramps = torch.stack([rows, columns, rows + 2 * columns]).double() / 40
    torch.testing.assert_close(demosaic(mosaic(ramps))[:, 1:-1, 1:-1], ramps[:, 1:-1, 1:-1])


def test_known_colours_of_a_pixel_are_kept():
    image = photograph()
    assert torch.equal(mosaic(demosaic(mosaic(image))), mosaic(image))


def test_without_noise_the_image_comes_back():
    image = photograph().double()
    raw = {**RawNoise().sample(0, (60, 70)), "shot": 0.0, "read": 0.0}
    torch.testing.assert_close(RawNoise.apply(image, raw), image, rtol=0, atol=1e-6)
    flat = torch.tensor([0.3, 0.5, 0.6], dtype=torch.float64).view(3, 1, 1).expand(3, 9, 11)
    isp = {**CameraISP().sample(0, (9, 11)), "shot": 0.0, "read": 0.0}
    torch.testing.assert_close(CameraISP.apply(flat, isp), flat.contiguous(), rtol=0, atol=1e-6)


def test_noise_follows_the_published_law():
    params = [RawNoise().sample(seed, (8, 8)) for seed in range(2000)]
    log_shot = np.log([p["shot"] for p in params])
    residual = np.log([p["read"] for p in params]) - 2.18 * log_shot - 1.20
    assert log_shot.min() >= math.log(1e-4)
    assert log_shot.max() <= math.log(0.012)
    assert abs(log_shot.mean() - (math.log(1e-4) + math.log(0.012)) / 2) < 0.1
    assert abs(residual.mean()) < 0.03
    assert abs(residual.std() - 0.26) < 0.02
    inverse_gain = 1 / np.array([p["digital_gain"] for p in params])
    assert abs(inverse_gain.mean() - 0.8) < 0.01
    assert abs(inverse_gain.std() - 0.1) < 0.01


def test_noise_of_the_sensor_is_seen_through_gains_gamma_and_tone_curve():
    params = {"shot": 1e-4, "read": 1e-6, "red_gain": 2.0, "blue_gain": 1.6, "digital_gain": 1.25, "seed": 0}
    noise = RawNoise.apply(GREY.double(), params) - GREY
    linear = 0.5**2.2
    slope = 1.5 / 2.2 * linear ** (1 / 2.2 - 1)
    for channel, gain in enumerate((2.5, 1.25, 2.0)):
        expected = slope * gain * math.sqrt(1e-4 * linear / gain + 1e-6)
        assert noise[channel].std().item() == pytest.approx(expected, rel=0.02)


def test_demosaicing_correlates_channels_and_neighbours():
    params = CameraISP(shot=0.005, crosstalk=0.3).sample(0, (240, 240))
    isp = (CameraISP.apply(GREY, params) - GREY).numpy()
    raw = (RawNoise.apply(GREY, params) - GREY).numpy()
    for noise, correlated in ((isp, True), (raw, False)):
        neighbours = np.corrcoef(noise[0, :, 1:].ravel(), noise[0, :, :-1].ravel())[0, 1]
        channels = np.abs(np.corrcoef(noise.reshape(3, -1))[np.triu_indices(3, 1)]).max()
        assert (abs(neighbours) > 0.2) == correlated
        assert (channels > 0.05) == correlated


@pytest.mark.parametrize("op", [RawNoise, CameraISP])
def test_severity_rises_with_shot_noise(op):
    for seed in range(5):
        mild, medium, severe = (op.severity(op(**arguments).sample(seed, (8, 8))) for arguments in op.severities)
        assert 0 < mild < medium < severe <= 1


def test_severity_is_the_deviation_of_green_on_mid_grey():
    params = RawNoise(shot=1e-3, digital_gain=1.25).sample(0, (240, 240))
    deviation = (RawNoise.apply(GREY, params) - GREY)[1].std() * 255 / 75
    assert RawNoise.severity(params) == pytest.approx(float(deviation), rel=0.03)


@pytest.mark.parametrize(
    ("op", "arguments", "message"),
    [
        (RawNoise, {"shot": 0}, r"RawNoise\.shot: must be between"),
        (RawNoise, {"read": -1}, r"RawNoise\.read: must be between 0 and 1"),
        (CameraISP, {"crosstalk": 0.7}, r"CameraISP\.crosstalk: must be between 0 and 0\.6"),
        (CameraISP, {"red_gain": 0}, r"CameraISP\.red_gain: must be at least 0\.1"),
    ],
)
def test_mistakes_are_named(op, arguments, message):
    with pytest.raises(ValueError, match=message):
        op(**arguments)


@pytest.mark.parametrize("op", [RawNoise, CameraISP])
def test_images_without_colours_of_a_camera_are_refused(op):
    with pytest.raises(ValueError, match=r"expected 1 or 3 channels, got shape \[2, 8, 8\]"):
        op()(torch.zeros(2, 8, 8), 0)
