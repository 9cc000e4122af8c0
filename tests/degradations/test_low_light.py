"""Low light: the formula and its noise."""

import numpy as np
import pytest
import torch
from skimage.exposure import adjust_gamma

from uir.degradations.channels import grey_plane
from uir.degradations.low_light_degradation import LowLight, RetinexLowLight, guided_filter, illumination

IMAGE = torch.rand(3, 40, 52, generator=torch.Generator().manual_seed(0))


def test_result_is_the_published_formula():
    dark, record = LowLight()(IMAGE, 3)
    (p,) = record.steps
    expected = p["beta"] * (p["alpha"] * IMAGE.double().numpy()) ** p["gamma"]
    np.testing.assert_allclose(dark.numpy(), expected, atol=1e-6)


def test_pure_gamma_is_scikit_images():
    dark = LowLight(alpha=1, beta=1, gamma=2.2)(IMAGE, 0)[0]
    np.testing.assert_allclose(dark.numpy(), adjust_gamma(IMAGE.numpy(), 2.2), atol=1e-6)


def test_defaults_stay_in_the_published_ranges_and_darken():
    for seed in range(30):
        dark, record = LowLight()(IMAGE, seed)
        (p,) = record.steps
        assert 0.9 <= p["alpha"] <= 1
        assert 0.5 <= p["beta"] <= 1
        assert 1.5 <= p["gamma"] <= 5
        assert (dark <= IMAGE).all()


def test_noise_has_its_sigma():
    clean = LowLight(alpha=1, beta=1, gamma=1)
    noisy = LowLight(alpha=1, beta=1, gamma=1, noise_sigma=8)
    grey = torch.full((3, 120, 120), 0.5)
    difference = (noisy(grey, 0)[0] - clean(grey, 0)[0]) * 255
    assert abs(difference.std() - 8) < 0.15


def test_seed_is_recorded_only_where_there_is_noise():
    assert "seed" not in LowLight().sample(0, (4, 4))
    assert LowLight(noise_sigma=3).sample(0, (4, 4))["seed"] == 0


def test_values_below_zero_do_not_become_nan():
    assert torch.isfinite(LowLight(gamma=1.7)(IMAGE - 0.5, 0)[0]).all()


def test_guided_filter_is_a_least_squares_fit_in_every_window():
    guide, source = (torch.rand(1, 7, 9, generator=torch.Generator().manual_seed(k)).double() for k in (1, 2))
    pad = np.pad(guide[0].numpy(), 2, mode="reflect"), np.pad(source[0].numpy(), 2, mode="reflect")
    lines = np.zeros((9, 11, 2))
    for row, column in np.ndindex(9, 11):
        x, y = (plane[row : row + 3, column : column + 3].ravel() for plane in pad)
        design = np.stack([x - x.mean(), np.ones(9)], axis=1)
        slope, mean = np.linalg.solve(design.T @ design + np.diag([9 * 0.01, 0]), design.T @ y)
        lines[row, column] = slope, mean - slope * x.mean()
    windows = np.lib.stride_tricks.sliding_window_view(lines, (3, 3), axis=(0, 1)).mean(axis=(-2, -1))
    expected = windows[..., 0] * guide[0].numpy() + windows[..., 1]
    filtered = guided_filter(guide, source, side=3, epsilon=0.01)[0].numpy()
    # the window at a border pixel is the reflected one, its line that of the reflected centre
    np.testing.assert_allclose(filtered[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1e-12)


def test_guided_filter_leaves_a_constant_alone():
    guide = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    flat = guided_filter(guide, torch.full_like(guide, 0.3), 3, 0.01)
    torch.testing.assert_close(flat, torch.full_like(guide, 0.3))


def test_retinex_keeps_the_reflectance_and_darkens_the_light():
    dark, record = RetinexLowLight(noise_sigma=0)(IMAGE, 3)
    (step,) = record.steps
    light = illumination(IMAGE, step)
    np.testing.assert_allclose(
        dark.numpy(), (IMAGE / light).numpy() * light.double().numpy() ** step["gamma"], atol=1e-6
    )
    torch.testing.assert_close(dark[0] * IMAGE[1], dark[1] * IMAGE[0], rtol=0, atol=1e-6)


def test_uniform_light_darkens_by_its_power():
    grey = torch.full((3, 12, 12), 0.25)
    dark = RetinexLowLight(gamma=2.5, noise_sigma=0)(grey, 0)[0]
    torch.testing.assert_close(dark, torch.full_like(dark, 0.25**2.5), rtol=1e-4, atol=0)


def test_light_may_come_from_a_file(tmp_path):
    light = np.linspace(0.1, 1, 40 * 52, dtype=np.float32).reshape(40, 52)
    np.save(tmp_path / "light.npy", light)
    _, record = RetinexLowLight(light=tmp_path / "light.npy")(IMAGE, 0)
    assert record.steps[0]["light_file"] == str(tmp_path / "light.npy")
    guided = guided_filter(torch.from_numpy(light)[None], grey_plane(IMAGE), 3, 0.01).clamp(min=0)
    torch.testing.assert_close(illumination(IMAGE, record.steps[0]), guided + 1e-7)


def test_black_stays_finite():
    for op in (LowLight(), RetinexLowLight(noise_sigma=0)):
        assert not op(torch.zeros(3, 6, 6), 0)[0].any()


def test_retinex_noise_is_published_in_full_scale():
    sigmas = [RetinexLowLight().sample(seed, (4, 4))["noise_sigma_255"] / 255 for seed in range(50)]
    assert min(sigmas) >= 0.03
    assert max(sigmas) <= 0.08
    noisy, record = RetinexLowLight(clip=False)(torch.full((3, 100, 100), 0.5), 1)
    assert noisy.std().item() * 255 == pytest.approx(record.steps[0]["noise_sigma_255"], rel=0.03)


def test_severity_is_the_light_lost():
    assert LowLight.severity(LowLight(alpha=1, beta=1, gamma=1).sample(0, (4, 4))) == 0
    assert LowLight.severity(LowLight(alpha=1, beta=0.5, gamma=2).sample(0, (4, 4))) == pytest.approx(0.75)
    assert RetinexLowLight.severity(RetinexLowLight(gamma=3).sample(0, (4, 4))) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": -1}, r"RetinexLowLight\.gamma: must be at least 0"),
        ({"noise_sigma": "much"}, r"RetinexLowLight\.noise_sigma: expected a number"),
        ({"light": "nowhere.png"}, r"RetinexLowLight\.light: there is no file 'nowhere\.png'"),
        ({"clip": "no"}, r"RetinexLowLight\.clip: expected true or false"),
    ],
)
def test_mistakes_in_retinex_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        RetinexLowLight(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": -1}, r"LowLight\.gamma: must be at least 0"),
        ({"alpha": 1.5}, r"LowLight\.alpha: must be between 0 and 1"),
        ({"beta": [0.9, 0.5]}, r"LowLight\.beta: the range"),
        ({"noise_sigma": -1}, r"LowLight\.noise_sigma"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LowLight(**arguments)
