"""Gaussian noise: its moments and its switches."""

import numpy as np
import pytest
import torch
from scipy import stats

from uir.degradations.noise_degradation import GaussianNoise

GREY = torch.full((3, 200, 200), 0.5)


def noise_of(op: GaussianNoise, seed: int = 0) -> torch.Tensor:
    return (op(GREY, seed)[0] - GREY) * 255


def test_moments_are_those_asked_for():
    noise = noise_of(GaussianNoise(sigma=25, clip=False))
    assert abs(noise.mean()) < 0.3
    assert abs(noise.std() - 25) < 0.3
    assert stats.kstest(noise.flatten().numpy() / 25, "norm").pvalue > 0.01


def test_channels_and_neighbours_are_independent():
    noise = noise_of(GaussianNoise(sigma=25, clip=False))
    assert np.abs(np.corrcoef(noise.flatten(1).numpy())[0, 1:]).max() < 0.02
    assert abs(np.corrcoef(noise[0, :, 1:].flatten(), noise[0, :, :-1].flatten())[0, 1]) < 0.02


def test_grey_noise_is_alike_in_all_channels():
    result, record = GaussianNoise(sigma=25, grey_probability=1.0)(GREY, 0)
    assert record.steps[0]["grey"] is True
    assert torch.equal(result[0], result[1])
    assert torch.equal(result[0], result[2])


def test_grey_probability_is_how_often():
    op = GaussianNoise(grey_probability=0.4)
    assert abs(np.mean([op.sample(seed, (4, 4))["grey"] for seed in range(1000)]) - 0.4) < 0.05


def test_clip_is_a_choice():
    white = torch.ones(3, 32, 32)
    assert GaussianNoise(sigma=50)(white, 0)[0].max() <= 1
    assert GaussianNoise(sigma=50, clip=False)(white, 0)[0].max() > 1


def test_clipping_changes_nothing_but_what_lies_outside():
    free, clipped = (GaussianNoise(sigma=50, clip=clip)(torch.full((3, 32, 32), 0.9), 0)[0] for clip in (False, True))
    assert torch.equal(free.clamp(0, 1), clipped)


def test_quantised_result_fits_into_eight_bits():
    result, _ = GaussianNoise(sigma=10, quantise=True)(GREY, 0)
    assert torch.equal(result, torch.round(result * 255) / 255)
    assert not torch.equal(result, GaussianNoise(sigma=10)(GREY, 0)[0])


def test_no_sigma_no_noise():
    assert torch.equal(GaussianNoise(sigma=0)(GREY, 0)[0], GREY)


def test_changing_sigma_leaves_the_field_alone():
    weak, strong = (noise_of(GaussianNoise(sigma=s, clip=False), 3) for s in (10, 20))
    torch.testing.assert_close(2 * weak, strong, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": -5}, r"GaussianNoise\.sigma: must be at least 0, got -5"),
        ({"sigma": [50, 5]}, r"GaussianNoise\.sigma: the range"),
        ({"grey_probability": 2}, r"GaussianNoise\.grey_probability: must be between 0 and 1"),
        ({"clip": "yes"}, r"GaussianNoise\.clip: expected true or false"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianNoise(**arguments)
