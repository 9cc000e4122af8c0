"""Seeds: known answers (the same on every machine), independence of the parts, no touch on the global state."""

import hashlib
import random

import numpy as np
import pytest
import torch

from uir.core.seeds import derive_seed, numpy_generator, torch_generator


@pytest.mark.parametrize(
    ("parts", "seed"),
    [
        ((), 6_510_301_506_637_419_378),
        ((0,), 3_581_690_635_855_307_741),
        ((1234, "noise", 2), 5_630_158_498_797_316_983),
    ],
)
def test_known_answers(parts: tuple[int | str, ...], seed: int) -> None:
    assert derive_seed(*parts) == seed


def test_the_formula() -> None:
    digest = hashlib.blake2b(b"int:7\x1fstr:rain", digest_size=8).digest()
    assert derive_seed(7, "rain") == int.from_bytes(digest, "little") // 2


def test_seeds_fit_a_signed_64_bit_integer() -> None:
    seeds = [derive_seed("range", i) for i in range(1000)]
    assert min(seeds) >= 0
    assert max(seeds) < 2**63


def test_every_part_its_type_and_the_order_count() -> None:
    variants = [(1, 2), (2, 1), (12,), ("1", 2), (1, "2"), (1, 2, 0), ("1\x1f2",)]
    assert len({derive_seed(*parts) for parts in variants}) == len(variants)


def test_generators_repeat_and_differ_by_key() -> None:
    assert numpy_generator(1, "a").random() == numpy_generator(1, "a").random()
    assert numpy_generator(1, "a").random() != numpy_generator(1, "b").random()
    draw = [torch.rand(3, generator=torch_generator(1, key)) for key in ("a", "a", "b")]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])


def test_numpy_generator_is_philox_keyed_by_the_seed() -> None:
    reference = np.random.Generator(np.random.Philox(key=derive_seed(3, "x")))
    assert numpy_generator(3, "x").integers(0, 2**62, 4).tolist() == reference.integers(0, 2**62, 4).tolist()


def test_the_global_random_state_is_not_touched() -> None:
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    numpy_generator(1).random()
    torch.rand(3, generator=torch_generator(1))
    assert before[0] == random.getstate()
    assert before[1] == np.random.get_state()[1].tolist()
    assert torch.equal(before[2], torch.get_rng_state())
