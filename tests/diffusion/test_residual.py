"""DiffUIR's residual diffusion: its schedule, its times, and samplers with a perfect estimate of the residual."""

import pytest
import torch

from uir.diffusion.gaussian import END
from uir.diffusion.residual import diffused, noise_of, residual_schedule, sample, spread_times, start_of

SCHEDULE = residual_schedule()


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    clean, degraded = 2 * torch.rand(2, 2, 3, 4, 5, generator=generator) - 1
    clean = degraded + (clean - degraded) / 2  # the residual stays in [-1, 1]
    return clean, degraded, torch.randn(2, 3, 4, 5, generator=generator)


@pytest.mark.parametrize(
    ("time", "shares"),
    [(332, (0.43362, 0.82415, 0.09988)), (665, (0.89449, 0.99442, 0.39944)), (999, (0.99365, 0.99998, 0.90050))],
)
def test_the_schedule_has_the_published_numbers(time, shares):
    assert SCHEDULE.shares(time) == pytest.approx(shares, abs=1e-5)


def test_three_steps_visit_the_published_times():
    assert spread_times(1000, 3) == [999, 665, 332, END]
    assert spread_times(1000, 1000) == [*range(999, -1, -1), END]
    with pytest.raises(ValueError, match="expected 1 to 1000, got 0"):
        spread_times(1000, 0)


def test_the_noise_follows_from_the_state_and_the_residual(images):
    clean, degraded, noise = images
    state = diffused(clean, degraded - clean, degraded, noise, torch.tensor([500, 500]), SCHEDULE)
    got = noise_of(state, degraded - clean, degraded, SCHEDULE.shares(500))
    torch.testing.assert_close(got, noise, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sampler", ["published", "ddim"])
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_a_perfect_estimate_of_the_residual_restores_exactly(sampler, steps, images):
    clean, degraded, noise = images
    start = start_of(degraded, noise, SCHEDULE)
    states = sample(
        lambda state, time: degraded - clean, degraded, start, SCHEDULE, spread_times(1000, steps), sampler, 0.5,
        lambda time: noise,
    )  # fmt: skip
    assert len(states) == steps + 1
    torch.testing.assert_close(states[-1], clean, atol=1e-6, rtol=0)


def test_ddim_follows_the_forward_process_and_the_published_sampler_keeps_the_noise(images):
    clean, degraded, noise = images
    times, middle = [999, 500, END], torch.tensor([500, 500])
    start = diffused(clean, degraded - clean, degraded, noise, torch.tensor([999, 999]), SCHEDULE)
    perfect = lambda state, time: degraded - clean  # noqa: E731
    exact = diffused(clean, degraded - clean, degraded, noise, middle, SCHEDULE)
    torch.testing.assert_close(sample(perfect, degraded, start, SCHEDULE, times, "ddim")[1], exact, atol=1e-5, rtol=0)
    kept = sample(perfect, degraded, start, SCHEDULE, times)[1] - exact
    torch.testing.assert_close(kept, (SCHEDULE.noise[999] - SCHEDULE.noise[500]) * noise, atol=1e-5, rtol=0)


def test_refuses_a_sampler_that_does_not_exist(images):
    with pytest.raises(ValueError, match="expected one of published, ddim, got 'euler'"):
        sample(lambda state, time: state, *images[:2], SCHEDULE, [999, END], "euler")
