"""What every registered dataset must do, whatever it reads."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dataset_configs import DATASETS, write_pictures
from torch import Tensor

from uir.core.seeds import derive_seed
from uir.data.loading import SampleKey, SeededDataset, build_train_loader, collate_samples
from uir.degradations.record import RecordBatch
from uir.registry import DATASET_REGISTRY
from uir.registry.components import build

pytestmark = pytest.mark.thorough

Make = Callable[..., Any]
OWN = [name for name, cls in DATASET_REGISTRY if cls.__module__.startswith("uir.")]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(params=OWN)
def make(request: pytest.FixtureRequest, pictures: Path) -> Make:
    """Builds another copy of the dataset, for training or another phase."""
    if request.param not in DATASETS:
        pytest.fail(f"{request.param} has no small configuration; add one to tests/dataset_configs.py")
    spec = {"type": request.param, **DATASETS[request.param](pictures)}
    return lambda phase="train": build(DATASET_REGISTRY, spec, {"scale": 1, "phase": phase, "name": "small"})


def key_of(seed: int, epoch: int, index: int) -> SampleKey:
    return SampleKey(index, derive_seed(seed, epoch, index, index))


def same(one: Any, other: Any) -> bool:
    """Whether two items or batches hold the same, to the last bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other


def test_an_item_depends_on_seed_epoch_and_index_alone(make: Make) -> None:
    keys = [key_of(3, epoch, index) for epoch in (0, 1) for index in (0, 1)]
    dataset = SeededDataset(make())
    items = [dataset[key] for key in keys]
    random.seed(9)
    np.random.seed(9)
    torch.manual_seed(9)
    again = SeededDataset(make())
    backwards = [again[key] for key in reversed(keys)]
    assert all(same(one, other) for one, other in zip(items, reversed(backwards), strict=True))


def test_the_global_random_state_is_left_alone(make: Make) -> None:
    dataset = SeededDataset(make())
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    dataset[key_of(3, 0, 0)]
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


def test_an_epoch_differs_from_the_one_before(make: Make) -> None:
    dataset = SeededDataset(make())
    epochs = [[dataset[key_of(3, epoch, index)]["gt"] for index in range(2)] for epoch in range(3)]
    assert not all(torch.equal(one, two) for epoch in epochs[1:] for one, two in zip(epochs[0], epoch, strict=True))


def test_an_image_of_validation_does_not_change(make: Make) -> None:
    dataset = SeededDataset(make("val"))
    assert same(dataset[key_of(3, 0, 1)], dataset[key_of(4, 7, 1)])


def test_a_sample_is_a_pair_of_images(make: Make) -> None:
    for phase in ("train", "val"):
        item = SeededDataset(make(phase))[key_of(3, 0, 0)]
        for side in ("lq", "gt"):
            assert item[side].dtype == torch.float32
            assert item[side].isfinite().all()
            assert Path(item[f"{side}_path"]).exists()
        assert item["lq"].shape == item["gt"].shape
        assert item["gt"].min() >= 0
        assert item["gt"].max() <= 1


def test_samples_make_a_batch(make: Make) -> None:
    dataset = SeededDataset(make())
    samples = [dataset[key_of(3, 0, index)] for index in range(2)]
    batch = collate_samples(samples)
    assert isinstance(batch["degradation"], RecordBatch)
    assert len(batch["degradation"]) == 2
    assert batch["skipped"] == []
    for key, value in samples[0].items():
        if isinstance(value, Tensor):
            assert torch.equal(batch[key], torch.stack([sample[key] for sample in samples]))


def test_a_loader_gives_the_same_epoch_again(make: Make) -> None:
    epochs = []
    for _ in range(2):
        loader, sampler = build_train_loader(make(), batch_size=2, workers=0, seed=5)
        sampler.set_epoch(1)
        epochs.append(list(loader))
    assert len(epochs[0]) >= 1
    assert all(same(one, other) for one, other in zip(*epochs, strict=True))


def test_every_configured_dataset_is_registered() -> None:
    assert sorted(DATASETS) == OWN
