"""One sample from one seed, for any kind of dataset."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from uir.core.threads import one_thread


def draw_sample(dataset: Dataset[Any], index: int, seed: int) -> dict[str, Any]:
    """The sample `index` of `dataset`, with all of its random values from `seed`; the same in every process.

    A dataset written for uir has a method `sample(index, seed)`. Any other is read by `dataset[index]` while the global
    generators are seeded (see `seeded_globals`).
    """
    if isinstance(dataset, Subset):
        return draw_sample(dataset.dataset, int(dataset.indices[index]), seed)
    with one_thread():
        if _has_seeded_sample(dataset):
            return dataset.sample(index, seed)  # type: ignore[attr-defined]
        with seeded_globals(seed):
            return dataset[index]


@contextmanager
def seeded_globals(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, numpy and torch (CPU) for a block, then restore their states."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the accelerators too
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _has_seeded_sample(dataset: Dataset[Any]) -> bool:
    return _class_has_seeded_sample(type(dataset))  # type: ignore[arg-type]


@cache
def _class_has_seeded_sample(cls: type[Any]) -> bool:
    method = getattr(cls, "sample", None)
    return inspect.isfunction(method) and list(inspect.signature(method).parameters)[1:3] == ["index", "seed"]
