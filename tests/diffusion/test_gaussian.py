"""DDPM and DDIM: the forward process, schedules, and samplers with a perfect estimate of the noise."""

import pytest
import torch

from uir.diffusion.gaussian import (
    END,
    clean_of,
    ddim,
    ddim_step,
    even_times,
    kept_signal,
    linear_betas,
    noise_of,
    noised,
    posterior_means,
    posterior_weights,
    root_linear_betas,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_the_forward_process_has_its_closed_form_moments(generator):
    betas, clean = linear_betas(20, 0.01, 0.3), torch.full((20000,), 0.7)
    state = clean
    for beta in betas.tolist():
        state = (1 - beta) ** 0.5 * state + beta**0.5 * torch.randn(clean.shape, generator=generator)
    kept = float(kept_signal(betas)[-1])
    assert float(state.mean()) == pytest.approx(0.7 * kept**0.5, abs=0.02)
    assert float(state.var()) == pytest.approx(1 - kept, abs=0.02)


def test_the_clean_image_and_the_noise_follow_from_the_state(generator):
    clean, noise = torch.randn(2, 5, dtype=torch.float64, generator=generator)
    state = noised(clean, noise, 0.3)
    torch.testing.assert_close(clean_of(state, noise, 0.3), clean)
    torch.testing.assert_close(noise_of(state, clean, 0.3), noise)


def test_few_steps_have_the_weights_of_diffir():
    betas = root_linear_betas(4)
    first, second = posterior_weights(betas)
    expected = (
        (betas, [0.1, 0.294286, 0.590952, 0.99]),
        (kept_signal(betas), [0.9, 0.635143, 0.259804, 0.002598]),
        (first, [1, 0.765187, 0.63627, 0.505927]),
        (second, [0, 0.230246, 0.315256, 0.074212]),
    )
    for got, numbers in expected:
        torch.testing.assert_close(got, torch.tensor(numbers, dtype=torch.float64), atol=1e-6, rtol=0)


def test_a_perfect_estimate_of_the_clean_vector_restores_it(generator):
    clean, start = torch.randn(2, 3, 8, generator=generator)
    assert torch.equal(posterior_means(lambda state, time: clean, start, root_linear_betas()), clean)


def test_even_times_start_below_the_last_time():
    assert even_times(1000, 25)[:2] == [960, 920]
    assert even_times(1000, 25)[-2:] == [0, END]
    assert even_times(1000, 3) == [666, 333, 0, END]
    with pytest.raises(ValueError, match="expected 1 to 10, got 11"):
        even_times(10, 11)


@pytest.mark.parametrize(("steps", "eta"), [(1, 0.0), (7, 0.0), (7, 1.0), (50, 0.5)])
def test_a_perfect_estimate_of_the_noise_restores_exactly(steps, eta, generator):
    kept, clean = kept_signal(linear_betas(100)), torch.randn(1, 3, 4, 4, dtype=torch.float64, generator=generator)
    times = even_times(100, steps)
    start = noised(clean, torch.randn(clean.shape, dtype=torch.float64, generator=generator), kept[times[0]])
    drawn = lambda time: torch.randn(clean.shape, dtype=torch.float64, generator=generator)  # noqa: E731
    restored = ddim(lambda state, time: noise_of(state, clean, kept[time]), start, kept, times, eta, drawn)
    torch.testing.assert_close(restored, clean, atol=1e-9, rtol=0)


def test_a_step_with_eta_one_is_the_posterior_of_ddpm(generator):
    betas = linear_betas(10, 0.05, 0.4)
    kept, (of_clean, of_state) = kept_signal(betas), posterior_weights(betas)
    clean, state, fresh = torch.randn(3, 5, dtype=torch.float64, generator=generator)
    noise = noise_of(state, clean, kept[6])
    stepped = ddim_step(state, noise, float(kept[6]), float(kept[5]), 1.0, fresh)
    deviation = (betas[6] * (1 - kept[5]) / (1 - kept[6])).sqrt()
    torch.testing.assert_close(stepped, of_clean[6] * clean + of_state[6] * state + deviation * fresh)
