"""Low light: the formula and its noise."""

import numpy as np
import pytest
import torch
from skimage.exposure import adjust_gamma

from uir.degradations.low_light_degradation import LowLight

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
