"""Alignment, uniformity and silhouette against closed forms."""

import math

import pytest
import torch

from uir.analysis.representation import alignment, silhouette, squared_distances, uniformity

CROSS = torch.tensor([[1.0, 0], [0, 2], [-3, 0], [0, -4]])  # the four directions; lengths do not count


def test_distances_on_the_sphere():
    expected = torch.tensor([[0, 2, 4, 2], [2, 0, 2, 4], [4, 2, 0, 2], [2, 4, 2, 0]], dtype=torch.float64)
    torch.testing.assert_close(squared_distances(CROSS), expected)


def test_alignment_is_the_mean_squared_distance_within_classes():
    assert alignment(CROSS, [0, 0, 1, 1]) == pytest.approx(2)
    assert alignment(CROSS, [0, 1, 0, 1]) == pytest.approx(4)
    assert alignment(CROSS, [0, 0, 0, 1], alpha=1) == pytest.approx((2 * math.sqrt(2) + 2) / 3)
    assert alignment(torch.ones(3, 5), [0, 0, 0]) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="at least two samples"):
        alignment(CROSS, [0, 1, 2, 3])


def test_uniformity_is_the_log_of_the_mean_potential():
    assert uniformity(torch.tensor([[1.0, 0], [-5, 0]])) == pytest.approx(-8)
    assert uniformity(CROSS) == pytest.approx(math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6))
    assert uniformity(torch.ones(4, 3)) == pytest.approx(0, abs=1e-12)


def test_silhouette_of_tight_and_of_mixed_classes():
    pytest.importorskip("sklearn")
    tight = torch.tensor([[1.0, 0.001], [1, 0], [-1, 0], [-1, 0.001]])
    assert silhouette(tight, [0, 0, 1, 1]) > 0.99
    assert silhouette(tight, [0, 1, 0, 1]) < 0
    # By hand: each point is √2 from its companion, and (2 + √2) / 2 on average from the two others.
    other = (2 + math.sqrt(2)) / 2
    assert silhouette(CROSS, [0, 0, 1, 1]) == pytest.approx((other - math.sqrt(2)) / other)
