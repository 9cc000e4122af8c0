"""Student's intervals, against scipy."""

from __future__ import annotations

import numpy as np
import pytest

from uir.ablation.statistics import Interval, interval, paired, t_quantile

scipy_stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 10, 29, 200])
@pytest.mark.parametrize("probability", [0.5, 0.75, 0.975, 0.999])
def test_the_quantile_is_scipy_s(freedom: int, probability: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(
        scipy_stats.t.ppf(probability, freedom), rel=1e-9, abs=1e-9
    )


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_the_interval_is_scipy_s(count: int) -> None:
    values = np.random.default_rng(count).normal(30, 2, count)
    low, high = scipy_stats.t.interval(0.95, count - 1, loc=values.mean(), scale=scipy_stats.sem(values))
    found = interval(values.tolist())
    assert found.half_width is not None
    assert found.mean - found.half_width == pytest.approx(low, rel=1e-9)
    assert found.mean + found.half_width == pytest.approx(high, rel=1e-9)


def test_paired_differences_exclude_zero_exactly_where_the_paired_test_rejects() -> None:
    generator = np.random.default_rng(1)
    decisions = set()
    for _ in range(40):
        one, other = generator.normal(0.8, 1, 4), generator.normal(0, 1, 4)
        found = paired(dict(enumerate(one)), dict(enumerate(other)))
        assert found is not None
        rejects = scipy_stats.ttest_rel(one, other).pvalue < 0.05
        assert found.is_apart_from_zero == rejects
        decisions.add(rejects)
    assert decisions == {True, False}


def test_a_difference_needs_the_same_seed_on_both_sides() -> None:
    assert paired({1: 5.0, 2: 9.0}, {2: 8.0, 3: 1.0}) == Interval(1.0, None, 1)
    assert paired({1: 5.0}, {2: 8.0}) is None


def test_one_value_has_no_interval() -> None:
    assert interval([3.0]) == Interval(3.0, None, 1)
    assert not interval([3.0]).is_apart_from_zero


@pytest.mark.parametrize(("probability", "freedom"), [(0.4, 3), (1.0, 3), (0.9, 0)])
def test_arguments_out_of_range_are_refused(probability: float, freedom: int) -> None:
    with pytest.raises(ValueError, match=r"expected 0\.5 <= probability < 1"):
        t_quantile(probability, freedom)


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        interval([])


def test_an_interval_as_text() -> None:
    assert interval([1.0, 2.0, 3.0]).text(2) == "2.00 ± 2.48"
    assert interval([1.0, 2.0, 3.0]).text(1, signed=True) == "+2.0 ± 2.5"
    assert interval([0.25]).text(1) == "0.2"
