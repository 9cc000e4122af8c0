"""Gaussian, Poisson, speckle and impulse noise: their laws, moments and switches."""

import numpy as np
import pytest
import torch
from scipy import special, stats

from uir.core.seeds import torch_generator
from uir.degradations.noise_degradation import (
    GaussianNoise,
    PoissonNoise,
    SaltAndPepper,
    SpeckleNoise,
    draw_channel_covariance,
    luma,
    photons_of,
)
from uir.degradations.poisson import EXPANSION_FROM, TABLE_ALONE_TO, poisson_deviation

GREY = torch.full((3, 200, 200), 0.5)


def noise_of(op, seed: int = 0) -> torch.Tensor:
    return (op(GREY, seed)[0] - GREY) * 255


def photograph(seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(120, 130), mode="bilinear")[0]


def normal_field(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


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


def test_correlated_noise_has_the_covariance_that_is_recorded():
    result, record = GaussianNoise(sigma=[5, 20], correlated_probability=1.0, clip=False)(GREY, 3)
    (step,) = record.steps
    assert step["sigma_255"] == 20  # BSRGAN takes the upper end
    noise = ((result - GREY) * 255 / 20).flatten(1).numpy()
    np.testing.assert_allclose(np.cov(noise), step["channel_covariance"], atol=0.02)


def test_channel_covariances_are_covariances_that_correlate():
    for seed in range(20):
        covariance = np.array(draw_channel_covariance(seed))
        np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
        assert (covariance >= 0).all()
        assert np.linalg.eigvalsh(covariance).min() > -1e-12
    assert np.abs(np.array(draw_channel_covariance(0)) - np.diag(np.diag(draw_channel_covariance(0)))).max() > 0.01


def test_three_kinds_of_channels_are_drawn_as_often_as_asked():
    op = GaussianNoise(grey_probability=0.4, correlated_probability=0.2)
    params = [op.sample(seed, (4, 4)) for seed in range(2000)]
    assert abs(np.mean([p["grey"] for p in params]) - 0.4) < 0.04
    assert abs(np.mean([p["channel_covariance"] is not None for p in params]) - 0.2) < 0.03
    assert not any(p["grey"] and p["channel_covariance"] for p in params)


def test_records_of_before_correlation_replay():
    old = {"sigma_255": 25.0, "grey": False, "clip": True, "quantise": False, "seed": 7}
    expected = GREY + torch.randn(3, 200, 200, generator=torch_generator(7)) * (25 / 255)
    torch.testing.assert_close(GaussianNoise.apply(GREY, old), expected.clamp(0, 1))


@pytest.mark.parametrize("op", [GaussianNoise(grey_probability=0.5, correlated_probability=0.3), SpeckleNoise()])
def test_each_image_with_its_own_parameters_equals_one_by_one(op):
    images = torch.stack([photograph(seed) for seed in range(5)])
    params = [op.sample(seed, (120, 130)) for seed in range(5)]
    expected = torch.stack([type(op).apply(image, own) for image, own in zip(images, params, strict=True)])
    torch.testing.assert_close(type(op).apply_each(images, params), expected, rtol=0, atol=1e-6)


def test_images_with_other_switches_are_done_one_by_one():
    images = torch.stack([GREY, GREY])
    params = [GaussianNoise(sigma=90, clip=clip).sample(0, (200, 200)) for clip in (True, False)]
    clipped, free = GaussianNoise.apply_each(images, params)
    assert clipped.max() == 1
    assert free.max() > 1


def test_speckle_grows_with_the_image():
    op = SpeckleNoise(sigma=20, grey_probability=0.0, correlated_probability=0.0)
    for level in (0.1, 0.5):
        noise = op(torch.full((3, 200, 200), level), 0)[0] - level
        assert abs(noise.std() * 255 - 20 * level) < 0.1
    assert torch.equal(op(torch.zeros(3, 9, 9), 0)[0], torch.zeros(3, 9, 9))


def test_salt_and_pepper_hit_the_asked_share_alike_often_and_nothing_else():
    result, _ = SaltAndPepper(amount=0.2)(GREY, 0)
    salt, pepper = (result == 1).float().mean(), (result == 0).float().mean()
    assert abs(salt - 0.1) < 0.004
    assert abs(pepper - 0.1) < 0.004
    assert (result == 0.5).float().mean() + salt + pepper == 1
    whole, _ = SaltAndPepper(amount=0.2, grey_probability=1.0)(GREY, 0)
    assert torch.equal(whole[0], whole[2])


def exact_law_of_the_expansion(rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts and the probabilities that the expansion gives them, from its float64 thresholds by bisection."""
    counts = np.arange(max(0, int(rate - 8 * rate**0.5)), int(rate + 8 * rate**0.5 + 20))
    root = rate**0.5

    def quantile(z: np.ndarray) -> np.ndarray:
        last = (-8 / 405 + 7 * z**2 / 810 + z**4 / 270) / rate
        return rate + root * z + 1 / 3 + z**2 / 6 - (z / 36 + z**3 / 72) / root + last

    low, high = np.full(counts.shape, -9.0), np.full(counts.shape, 9.0)
    for _ in range(60):
        middle = (low + high) / 2
        below = quantile(middle) < counts
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return counts[:-1], np.diff(special.ndtr(low))


@pytest.mark.parametrize("rate", [EXPANSION_FROM, 64.3, 100.7, 1000.0])
def test_expansion_is_within_1e5_of_poisson_in_total_variation(rate):
    counts, probabilities = exact_law_of_the_expansion(rate)
    assert np.abs(probabilities - stats.poisson.pmf(counts, rate)).sum() / 2 < 1e-5


@pytest.mark.thorough
@pytest.mark.parametrize(("level", "photons"), [(1, 40.0), (30, 20.0), (200, 64.0), (255, TABLE_ALONE_TO), (3, 3000.0)])
def test_tabulated_counts_are_the_exact_quantiles(level, photons):
    z = torch.linspace(-5.5, 5.5, 200_001)
    rate = level * photons / 255
    counts = poisson_deviation(torch.full_like(z, level), photons, z) + rate
    expected = stats.poisson.ppf(special.ndtr(z.double().numpy()), rate)
    wrong = np.abs(counts.numpy() - expected) > 1e-3
    assert wrong.mean() < 5e-5  # beside a threshold, float32 may choose the other side


@pytest.mark.thorough
@pytest.mark.parametrize(("level", "photons"), [(255, 300.0), (128, 1000.0), (255, 10_000.0)])
def test_expanded_counts_are_those_of_the_float64_law(level, photons):
    z = torch.linspace(-5.5, 5.5, 200_001)
    rate = level * photons / 255
    counts = poisson_deviation(torch.full_like(z, level), photons, z).double() + rate
    expected = stats.poisson.ppf(special.ndtr(z.double().numpy()), rate)
    assert (np.abs(counts.numpy() - expected) > 0.1).mean() < 0.002
    assert np.abs(counts.numpy() - expected).max() < 1.1


@pytest.mark.parametrize(("level", "photons"), [(2, 64.0), (60, 128.0), (250, 256.0), (20, 400.0), (180, 900.0)])
def test_counts_pass_a_chi_square_test(level, photons):
    rate, count = level * photons / 255, 400_000
    drawn = poisson_deviation(torch.full((count,), float(level)), photons, normal_field(count)) + rate
    counts = drawn.round().long().numpy()
    edges = stats.poisson.ppf(np.linspace(0.001, 0.999, 40), rate)
    edges = np.unique(np.concatenate([[-1.0], edges, [np.inf]]))
    expected = count * np.diff(stats.poisson.cdf(edges, rate))
    observed = np.histogram(counts, bins=np.append(edges[:-1] + 0.5, np.inf))[0]
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


def test_level_of_a_pixel_does_not_change_its_neighbours_noise():
    levels = torch.randint(0, 256, (2, 50, 60), generator=torch.Generator().manual_seed(0)).float()
    z = normal_field(6000).view(2, 50, 60)
    for photons in (64.0, 400.0):
        together = poisson_deviation(levels, photons, z)
        alone = torch.stack([poisson_deviation(levels[0], photons, z[0]), poisson_deviation(levels[1], photons, z[1])])
        assert torch.equal(together, alone)


@pytest.mark.parametrize(("values", "photons"), [(1, 1), (2, 2), (3, 4), (128, 128), (129, 256), (256, 256)])
def test_photons_of_an_image_are_its_levels_up_to_a_power_of_two(values, photons):
    assert photons_of(torch.arange(values).repeat(3).float()) == photons


def test_poisson_noise_has_the_moments_of_both_published_forms():
    clear = torch.full((3, 300, 300), 128 / 255)
    noise = PoissonNoise(scale=1.0, log10_photons=3, grey_probability=0.0)(clear, 0)[0] - clear
    assert abs(noise.mean()) < 2e-4
    assert abs(noise.var() / (128 / 255 / 1000) - 1) < 0.02
    image = photograph()
    levels = (image * 255).round()
    op = PoissonNoise(scale=2.0, grey_probability=0.0, clip=False)
    noise = op(image, 0)[0] - image
    assert photons_of(levels) == 256
    assert abs(noise.var() / (4 * (levels / 255).mean() / 256) - 1) < 0.03


def test_grey_poisson_noise_is_that_of_the_luma_in_all_channels():
    image = photograph()
    params = PoissonNoise(scale=0.5, grey_probability=1.0, clip=False).sample(0, (120, 130))
    noise = PoissonNoise.apply(image, params) - image
    torch.testing.assert_close(noise[0], noise[2], rtol=0, atol=1e-6)
    grey = (luma(image) * 255).round() / 255
    alone = PoissonNoise.apply(grey, {**params, "grey": False}) - grey
    torch.testing.assert_close(noise[:1], alone, rtol=0, atol=1e-6)


def test_black_stays_black_under_poisson_noise():
    assert torch.equal(PoissonNoise(scale=3.0)(torch.zeros(3, 20, 20), 0)[0], torch.zeros(3, 20, 20))


@pytest.mark.parametrize("op", [GaussianNoise, SpeckleNoise, PoissonNoise, SaltAndPepper])
def test_severity_is_the_deviation_on_mid_grey(op):
    for arguments in op.severities:
        clip = {"clip": False} if op in (GaussianNoise, PoissonNoise) else {}
        params = op(**arguments, **clip).sample(0, (200, 200))
        params = {**params, "grey": False, "channel_covariance": None}
        if op is PoissonNoise:
            params["photons"] = 256.0
        deviation = (op.apply(GREY, params) - GREY).std() * 255 / 75
        assert op.severity(params) == pytest.approx(min(float(deviation), 1), rel=0.02)


@pytest.mark.parametrize(
    ("op", "arguments", "message"),
    [
        (GaussianNoise, {"sigma": -5}, r"GaussianNoise\.sigma: must be at least 0, got -5"),
        (GaussianNoise, {"sigma": [50, 5]}, r"GaussianNoise\.sigma: the range"),
        (GaussianNoise, {"grey_probability": 2}, r"GaussianNoise\.grey_probability: must be between 0 and 1"),
        (GaussianNoise, {"clip": "yes"}, r"GaussianNoise\.clip: expected true or false"),
        (GaussianNoise, {"grey_probability": 0.7, "correlated_probability": 0.4}, "sum must be at most 1"),
        (SpeckleNoise, {"correlated_probability": -0.1}, r"SpeckleNoise\.correlated_probability: must be between"),
        (PoissonNoise, {"scale": -1}, r"PoissonNoise\.scale: must be at least 0"),
        (PoissonNoise, {"log10_photons": [2, 7]}, r"PoissonNoise\.log10_photons: must be between 0 and 6"),
        (SaltAndPepper, {"amount": 1.5}, r"SaltAndPepper\.amount: must be between 0 and 1"),
    ],
)
def test_mistakes_are_named(op, arguments, message):
    with pytest.raises(ValueError, match=message):
        op(**arguments)


def test_correlated_noise_of_more_than_three_channels_is_refused():
    with pytest.raises(ValueError, match="at most 3 channels, got 4"):
        GaussianNoise(correlated_probability=1.0)(torch.full((4, 8, 8), 0.5), 0)
