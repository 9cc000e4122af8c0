"""The pool gives back whole samples: image, path and record stay together."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from uir.data.pair_pool import PairPool
from uir.degradations.record import DegradationRecord, RecordBatch


def batch(first: int, count: int = 2) -> dict[str, Any]:
    numbers = list(range(first, first + count))
    images = torch.tensor(numbers, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4).clone()
    records = RecordBatch(DegradationRecord(steps=({"op": "X", "n": n},), seed=n, label=str(n)) for n in numbers)
    paths = [f"{n}.png" for n in numbers]
    return {"lq": images, "gt": images + 100, "lq_path": paths, "degradation": records, "skipped": []}


def numbers_of(taken: dict[str, Any]) -> list[int]:
    return [int(image[0, 0, 0]) for image in taken["lq"]]


def test_until_it_is_full_batches_pass_through() -> None:
    pool = PairPool(6, seed=1)
    assert [numbers_of(pool.exchange(batch(2 * i))) for i in range(3)] == [[0, 1], [2, 3], [4, 5]]


def test_every_sample_stays_whole() -> None:
    pool = PairPool(6, seed=1)
    for i in range(30):
        taken = pool.exchange(batch(2 * i))
        for place, number in enumerate(numbers_of(taken)):
            assert float(taken["gt"][place, 0, 0, 0]) == number + 100
            assert taken["lq_path"][place] == f"{number}.png"
            assert taken["degradation"][place].label == str(number)
            assert taken["degradation"][place].steps[0]["n"] == number


def test_what_goes_in_comes_out_once() -> None:
    pool = PairPool(6, seed=1)
    seen = [number for i in range(50) for number in numbers_of(pool.exchange(batch(2 * i)))][6:]
    assert len(seen) == len(set(seen))


def test_batches_mix_samples_of_different_times() -> None:
    pool = PairPool(20, seed=1)
    distances = [abs(a - b) for i in range(50) for a, b in [numbers_of(pool.exchange(batch(2 * i)))]][10:]
    assert max(distances) > 6


def test_its_state_goes_on_exactly() -> None:
    one, other = PairPool(6, seed=1), PairPool(6, seed=1)
    for i in range(7):
        one.exchange(batch(2 * i))
    other.load_state_dict(one.state_dict())
    for i in range(7, 12):
        assert numbers_of(one.exchange(batch(2 * i))) == numbers_of(other.exchange(batch(2 * i)))


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    pool = PairPool(2, seed=1)
    for i in range(3):
        pool.exchange(batch(2 * i))
    assert torch.equal(before, torch.get_rng_state())


def test_a_pool_smaller_than_a_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match="1 samples are fewer than a batch of 2"):
        PairPool(1, seed=1).exchange(batch(0))
