"""The temperature of a classifier, and the error of its probabilities."""

from __future__ import annotations

import math

import pytest
import torch

from uir.analysis.calibration import calibration_error, fit_temperature


def test_the_temperature_of_two_classes_is_the_closed_form() -> None:
    # Always the same two logits 4 and 0: the best T makes the probability of the first class its frequency, 0.8.
    logits = torch.tensor([[4.0, 0.0]]).expand(10, 2)
    target = torch.tensor([0] * 8 + [1] * 2)
    assert fit_temperature(logits, target) == pytest.approx(4 / math.log(0.8 / 0.2), rel=1e-4)


def test_the_temperature_of_classes_that_can_be_true_together() -> None:
    logits = torch.tensor([[3.0]]).expand(4, 1)
    target = torch.tensor([[1], [1], [1], [0]])
    assert fit_temperature(logits, target) == pytest.approx(3 / math.log(3), rel=1e-4)


def test_logits_of_the_right_size_need_no_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 5, generator=generator)
    target = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(logits, target) == pytest.approx(1, abs=0.03)
    assert fit_temperature(3 * logits, target) == pytest.approx(3, abs=0.1)


def test_a_classifier_without_a_mistake_gets_a_bounded_temperature() -> None:
    assert 0.05 <= fit_temperature(torch.tensor([[9.0, 0.0], [0.0, 9.0]]), torch.tensor([0, 1])) < 1


def test_the_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    confidence = torch.tensor([0.95, 0.95, 0.55, 0.55])
    right = torch.tensor([True, True, True, False])
    assert calibration_error(confidence, right) == pytest.approx((2 * 0.05 + 2 * 0.05) / 4)
    assert calibration_error(torch.tensor([1.0]), torch.tensor([False])) == pytest.approx(1)


def test_without_images_there_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="there are no images"):
        fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    with pytest.raises(ValueError, match="there are no answers"):
        calibration_error(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
