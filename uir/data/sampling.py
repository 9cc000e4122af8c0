"""The choice of samples for each batch of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, Sampler

from uir.core.seeds import derive_seed, torch_generator


class SampleKey(NamedTuple):
    """The request to a dataset: the sample's index, and the seed for all its random values."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which is not needed here
    seed: int


class EpochBatchSampler(Sampler[list[SampleKey]]):
    """The batches of one epoch, as lists of `SampleKey`.

    An epoch is a sequence of positions; each batch takes the next ones, and within a batch the processes of a
    distributed run take turns: two processes together see what one process sees with a batch twice as large. A sample's
    seed depends only on (seed, epoch, position, index), so a run resumed in the middle of an epoch sees the same
    samples.

    Args:
        dataset: anything with a length; if it has `epoch_order(generator, length)`, that decides the order.
        batch_size: samples per batch and process.
        seed: the run's seed.
        ratio: positions in an epoch per sample of the dataset (BasicSR's `dataset_enlarge_ratio`).
        shuffle: a new random order in each epoch; else the order of the dataset.
        rank: number of this process.
        world_size: number of processes.
        drop_last: leave out the incomplete batch at the end of the epoch; otherwise samples are added until each
            process has the same number.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        seed: int,
        ratio: float = 1,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: got {batch_size}; expected 1 or more")
        if not ratio > 0:
            raise ValueError(f"ratio (dataset_enlarge_ratio): got {ratio}; expected a number above 0")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size} processes: expected 0 <= rank < world_size")
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.places = int(len(dataset) * ratio)  # type: ignore[arg-type]
        step = batch_size * world_size
        self._batches = self.places // step if drop_last else -(-self.places // step)
        self.epoch = 0
        self.skip_batches = 0

    def set_epoch(self, epoch: int, skip_batches: int = 0) -> None:
        """The next iteration gives `epoch` without its first `skip_batches` batches (those seen before a resume)."""
        self.epoch = epoch
        self.skip_batches = skip_batches

    def __len__(self) -> int:
        """Number of batches in a whole epoch, skipped ones included."""
        return self._batches

    def __iter__(self) -> Iterator[list[SampleKey]]:
        return self._batches_of(self.epoch, self.skip_batches, self._order(self.epoch))

    def _order(self, epoch: int) -> list[int]:
        size = len(self.dataset)  # type: ignore[arg-type]
        if not self.shuffle:
            return (torch.arange(self.places) % size).tolist()
        generator = torch_generator(self.seed, "order", epoch)
        if hasattr(self.dataset, "epoch_order"):
            return self.dataset.epoch_order(generator, self.places).tolist()
        return (torch.randperm(self.places, generator=generator) % size).tolist()

    def _batches_of(self, epoch: int, first: int, order: list[int]) -> Iterator[list[SampleKey]]:
        step = self.batch_size * self.world_size
        for batch in range(first, self._batches):
            end = min((batch + 1) * step, -(-self.places // self.world_size) * self.world_size)
            places = range(batch * step + self.rank, end, self.world_size)
            yield [self._key(epoch, place, order[place % self.places]) for place in places]

    def _key(self, epoch: int, place: int, index: int) -> SampleKey:
        return SampleKey(index, derive_seed(self.seed, epoch, place, index))
