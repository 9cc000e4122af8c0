"""Numbers, ranges and choices."""

import numpy as np
import pytest

from uir.degradations.values import Values, check_probability, coin


def draws(given, count=2000, **options):
    values = Values.of("Op.sigma", given, **options)
    return np.array([values.draw(seed) for seed in range(count)])


def test_number_is_fixed():
    assert set(draws(25, 5)) == {25.0}


def test_range_is_uniform():
    drawn = draws([5, 50])
    assert drawn.min() >= 5
    assert drawn.max() <= 50
    assert abs(drawn.mean() - 27.5) < 1
    assert abs(drawn.std() - 45 / 12**0.5) < 0.5


def test_choice_is_uniform_over_its_items():
    numbers, counts = np.unique(draws({"choice": [15, 25, 50]}), return_counts=True)
    assert numbers.tolist() == [15, 25, 50]
    assert (abs(counts / 2000 - 1 / 3) < 0.04).all()


def test_integer_range_holds_both_ends():
    values = Values.of("Op.n", [2, 4], integer=True)
    drawn = [values.draw(seed) for seed in range(60)]
    assert set(drawn) == {2, 3, 4}
    assert all(type(n) is int for n in drawn)


def test_draw_depends_on_the_seed_and_the_name_alone():
    sigma, beta = Values.of("A.sigma", [0, 1]), Values.of("A.beta", [0, 1])
    assert sigma.draw(3) == sigma.draw(3) == Values.of("B.sigma", [0, 1]).draw(3)
    assert sigma.draw(3) != beta.draw(3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([50, 5], r"Op\.sigma: the range \[50, 5\] is empty; write the lower end first"),
        (-1, r"Op\.sigma: must be at least 0, got -1"),
        ([-1, 5], "at least 0"),
        ({"choice": [1, -2]}, "at least 0"),
        ("fast", r"Op\.sigma: expected a number, \[low, high\] or \{choice: \[...\]\}, got 'fast'"),
        (True, "expected a number"),
        (None, "expected a number"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        ([1], "a range is"),
        ([15, 25, 50], r"a choice is \{choice: \[15, 25, 50\]\}"),
        ({"choice": []}, "choice"),
        ({"chioce": [1]}, "choice"),
    ],
)
def test_mistakes_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        Values.of("Op.sigma", given, at_least=0)


def test_both_bounds_and_whole_numbers_are_checked():
    with pytest.raises(ValueError, match="between 0 and 1, got 2"):
        Values.of("Op.a", [0, 2], 0, 1)
    with pytest.raises(ValueError, match=r"whole number, got 2\.5"):
        Values.of("Op.n", 2.5, integer=True)


def test_coin_lands_as_often_as_asked():
    assert not any(coin(seed, "p", 0.0) for seed in range(50))
    assert all(coin(seed, "p", 1.0) for seed in range(50))
    assert abs(np.mean([coin(seed, "p", 0.3) for seed in range(2000)]) - 0.3) < 0.04


def test_probability_is_checked():
    assert check_probability("Op.p", 1) == 1.0
    with pytest.raises(ValueError, match=r"Op\.p: must be between 0 and 1, got 1\.5"):
        check_probability("Op.p", 1.5)


@pytest.mark.parametrize(("exponent", "mean"), [(2, 8.5), (-1, 0.625), (1, 2.5)])
def test_range_is_drawn_evenly_in_a_power_of_the_value(exponent, mean):
    drawn = [Values.of("Op.x", [1, 4]).draw(seed, exponent) for seed in range(2000)]
    assert 1 <= min(drawn) < 1.1
    assert 3.8 < max(drawn) <= 4
    assert sum(value**exponent for value in drawn) / 2000 == pytest.approx(mean, rel=0.03)
