"""The endless stream of training batches, which knows its position."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from uir.core.distributed import gathered
from uir.data.pair_pool import PairPool
from uir.data.sampling import EpochBatchSampler

logger = logging.getLogger("uir")


class BatchStream:
    """Batches, epoch after epoch.

    At the end of an epoch it reports the files that could not be read.

    Args:
        loader, sampler: the loader and the sampler of the training set.
        pool: mixes each batch with earlier samples; None for no mixing.
        device: if the dataset has `finish_batch(batch, device)`, it is called with this device before the pool, for
            work that is better done on a whole batch than on each sample.
        beside: further streams by name; their batches come with each batch of this one, under their names.
        changes: called with each batch, after the pool, and with its number from 1 on (see `uir.data.batch_changes`).
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        sampler: EpochBatchSampler,
        pool: PairPool | None = None,
        device: torch.device | str = "cpu",
        beside: Mapping[str, BatchStream] | None = None,
        changes: Sequence[Callable[[Mapping[str, Any], int], Mapping[str, Any]]] = (),
    ) -> None:
        self.changes = tuple(changes)
        self.beside = dict(beside or {})
        self.loader, self.sampler, self.pool, self.device = loader, sampler, pool, torch.device(device)
        self._finish = getattr(getattr(loader.dataset, "dataset", None), "finish_batch", None)
        self.epoch, self.batch = 0, 0
        self._skipped: list[str] = []
        self._batches: Iterator[Any] | None = None

    def next(self) -> Mapping[str, Any]:
        """The next batch, with those of the streams beside."""
        batch = self._own_next()
        return {**batch, **{name: stream.next() for name, stream in self.beside.items()}} if self.beside else batch

    def _own_next(self) -> Mapping[str, Any]:
        if self.batch >= len(self.sampler):
            self._end_epoch()
        if self._batches is None:
            self.sampler.set_epoch(self.epoch, self.batch)
            self._batches = iter(self.loader)
        batch: Mapping[str, Any] = next(self._batches)
        self.batch += 1
        self._skipped.extend(batch.get("skipped", ()))
        if self._finish is not None:
            batch = self._finish(batch, self.device)
        if self.pool is not None:
            batch = self.pool.exchange(batch)
        for change in self.changes:
            batch = change(batch, self.epoch * len(self.sampler) + self.batch)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The position to continue from."""
        state = {"epoch": self.epoch, "batch": self.batch, "pool": self.pool.state_dict() if self.pool else None}
        return {**state, "beside": {name: stream.state_dict() for name, stream in self.beside.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved position.

        Raises:
            ValueError: the state does not know a stream beside.
        """
        states = state.get("beside") or {}
        for name, stream in self.beside.items():
            if name not in states:
                raise ValueError(
                    f"datasets.train_{name}: the state does not know this stream; was it added to the run?"
                )
            stream.load_state_dict(states[name])
        self.epoch, self.batch = state["epoch"], state["batch"]
        if self.pool is not None and state.get("pool"):
            self.pool.load_state_dict(state["pool"])

    def _end_epoch(self) -> None:
        self.report_skipped()
        self.epoch, self.batch = self.epoch + 1, 0
        self._batches = None

    def report_skipped(self) -> None:
        """Report the files that could not be read since the last report."""
        for stream in self.beside.values():
            stream.report_skipped()
        skipped = [path for share in gathered(self._skipped) for path in share]
        if skipped:
            names = sorted(set(skipped))
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            logger.warning(
                "epoch %d: %d unreadable files were replaced by their neighbours %d times: %s",
                self.epoch, len(names), len(skipped), shown,
            )  # fmt: skip
        self._skipped = []
