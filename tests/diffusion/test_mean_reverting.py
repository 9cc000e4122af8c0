"""IR-SDE: its schedule, its forward process, and samplers with a perfect estimate of the noise."""

import pytest
import torch

from uir.diffusion.mean_reverting import (
    best_deviation,
    best_mean,
    clean_of,
    diffused,
    mean_reverting_schedule,
    noise_of,
    sample,
    spread_times,
)

SCHEDULE = mean_reverting_schedule()


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    clean, degraded = torch.rand(2, 2, 3, 4, 5, dtype=torch.float64, generator=generator)
    return clean, degraded, torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=generator)


def test_the_schedule_has_the_published_numbers():
    assert SCHEDULE.dt == pytest.approx(0.1040938079)
    assert float(SCHEDULE.integral[-1]) == pytest.approx(50.899448)
    assert float(SCHEDULE.kept[-1]) == pytest.approx(0.005, abs=1e-12)
    times = [1, 50, 100]
    assert SCHEDULE.noise[times].tolist() == pytest.approx([0.00073652, 0.03657392, 0.03921520], rel=1e-5)
    assert SCHEDULE.theta[times].tolist() == pytest.approx([0.00169462, 0.50615641, 0.99976657], rel=1e-4)


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_every_schedule_ends_near_the_degraded_image(kind):
    schedule = mean_reverting_schedule(20, 50, 0.01, kind)
    assert float(schedule.kept[0]) == 1
    assert float(schedule.noise[0]) == 0
    assert float(schedule.kept[-1]) == pytest.approx(0.01)
    assert float(schedule.noise[-1]) == pytest.approx(50 / 255 * (1 - 1e-4) ** 0.5)


def test_refuses_a_schedule_that_does_not_exist():
    with pytest.raises(ValueError, match=r"got 100, 10\.0, 1\.5 and 'cosine'"):
        mean_reverting_schedule(eps=1.5)


def test_the_forward_process_solves_the_equation():
    generator = torch.Generator().manual_seed(0)
    fine, (clean, degraded) = 40, torch.tensor([0.9, 0.2])
    state = clean.expand(20000)
    for time in range(1, 31):
        for _ in range(fine):
            step = float(SCHEDULE.theta[time]) * SCHEDULE.dt / fine
            noise = torch.randn(state.shape, generator=generator)
            state = state + step * (degraded - state) + SCHEDULE.deviation * (2 * step) ** 0.5 * noise
    exact = degraded + (clean - degraded) * SCHEDULE.kept[30]
    assert float(state.mean()) == pytest.approx(float(exact), abs=2e-3)
    assert float(state.std()) == pytest.approx(float(SCHEDULE.noise[30]), rel=0.02)


def test_the_clean_image_and_the_noise_follow_from_the_state(images):
    clean, degraded, noise = images
    times = torch.tensor([3, 90])
    state = diffused(clean, degraded, noise, times, SCHEDULE)
    torch.testing.assert_close(clean_of(state, degraded, noise, times, SCHEDULE), clean)
    torch.testing.assert_close(noise_of(state, degraded, clean, times, SCHEDULE), noise)


def test_the_best_step_keeps_the_moments_of_the_forward_process():
    generator = torch.Generator().manual_seed(0)
    count = (40000,)
    clean, degraded = torch.full((1, *count), 0.9), torch.full((1, *count), 0.2)
    times, then = torch.tensor([60]), torch.tensor([40])
    state = diffused(clean, degraded, torch.randn(1, *count, generator=generator), times, SCHEDULE)
    earlier = best_mean(state, degraded, clean, times, then, SCHEDULE)
    earlier = earlier + best_deviation(60, 40, SCHEDULE) * torch.randn(1, *count, generator=generator)
    assert float(earlier.mean()) == pytest.approx(0.2 + 0.7 * float(SCHEDULE.kept[40]), abs=2e-3)
    assert float(earlier.std()) == pytest.approx(float(SCHEDULE.noise[40]), rel=0.02)


def test_the_last_step_of_the_posterior_gives_the_clean_image(images):
    clean, degraded, noise = images
    first = torch.tensor([1, 1])
    state = diffused(clean, degraded, noise, first, SCHEDULE)
    torch.testing.assert_close(best_mean(state, degraded, clean, first, first - 1, SCHEDULE), clean)
    assert best_deviation(1, 0, SCHEDULE) == 0


@pytest.mark.parametrize(("steps", "eta"), [(1, 1.0), (10, 0.0), (100, 1.0)])
def test_the_posterior_restores_exactly_with_the_true_noise(steps, eta, images):
    clean, degraded, noise = images
    start = degraded + SCHEDULE.deviation * noise

    def true_noise(state, time):
        return noise_of(state, degraded, clean, torch.tensor([time, time]), SCHEDULE)

    times = spread_times(100, steps)
    restored = sample(true_noise, degraded, start, SCHEDULE, times, "posterior", eta, lambda time: noise)
    torch.testing.assert_close(restored, clean, atol=1e-7, rtol=0)


@pytest.mark.parametrize("sampler", ["sde", "ode"])
def test_euler_steps_come_nearer_to_the_clean_image_with_more_steps(sampler, images):
    clean, degraded, noise = images

    def distance(timesteps):
        schedule = mean_reverting_schedule(timesteps)
        true = lambda state, time: noise_of(state, degraded, clean, torch.tensor([time, time]), schedule)  # noqa: E731
        start = diffused(clean, degraded, noise, torch.tensor([timesteps, timesteps]), schedule)
        restored = sample(true, degraded, start, schedule, spread_times(timesteps, timesteps), sampler, 0.0)
        return float((restored - clean).abs().mean())

    assert distance(800) < 0.5 * distance(100) < 0.05


def test_few_steps_are_spread_evenly():
    assert spread_times(100, 4) == [100, 75, 50, 25, 0]
    with pytest.raises(ValueError, match="expected 1 to 100, got 101"):
        spread_times(100, 101)
