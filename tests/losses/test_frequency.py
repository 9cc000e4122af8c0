"""The frequency loss: closed forms and numpy's transform."""

import numpy as np
import pytest
import torch

from uir.losses.frequency_loss import FFTLoss


def test_a_constant_difference_lies_in_one_coefficient():
    flat = torch.zeros(1, 1, 6, 8)
    coefficients = 6 * (8 // 2 + 1) * 2  # real and imaginary parts
    assert FFTLoss()(flat + 0.5, flat).item() == pytest.approx(0.5 * 6 * 8 / coefficients, rel=1e-6)


def test_equals_the_difference_of_two_numpy_spectra():
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.rand(2, 3, 7, 9, generator=generator, dtype=torch.float64) for _ in range(2))
    difference = np.fft.rfft2(prediction.numpy()) - np.fft.rfft2(target.numpy())
    expected = np.mean([np.abs(difference.real), np.abs(difference.imag)])
    assert FFTLoss()(prediction, target).item() == pytest.approx(expected, rel=1e-12)


def test_none_keeps_real_and_imaginary_parts():
    images = torch.rand(2, 1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    elements = FFTLoss(reduction="none")(*images)
    assert elements.shape == (1, 3, 6, 5, 2)
    torch.testing.assert_close(FFTLoss(reduction="sum")(*images), elements.sum())


def test_unknown_reduction_is_named():
    with pytest.raises(ValueError, match="reduction: expected mean, sum, none, got 'avg'"):
        FFTLoss(reduction="avg")
