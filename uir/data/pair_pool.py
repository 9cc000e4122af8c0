"""A pool of training samples, so that a batch mixes degradations from different times (the queue of Real-ESRGAN)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from uir.core.seeds import torch_generator
from uir.degradations.record import DegradationRecord, RecordBatch


class PairPool:
    """Exchanges each batch with random samples of a pool; images, paths and records of a sample stay together.

    Until the pool is full, batches are returned unchanged. Its random values depend only on (seed, number of exchange).

    Args:
        size: number of samples in the pool.
        seed: the run's seed.

    Raises:
        ValueError: `size` is less than 1.
    """

    def __init__(self, size: int, seed: int) -> None:
        if size < 1:
            raise ValueError(f"pair_pool: expected a size above 0, got {size}")
        self.size, self.seed, self.exchanges = size, seed, 0
        self.held: dict[str, Any] | None = None

    def exchange(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Put a batch in and take the same number of samples out."""
        incoming = {key: value for key, value in batch.items() if key != "skipped"}
        count = _length(incoming)
        filled = 0 if self.held is None else _length(self.held)
        if filled + count <= self.size:
            self.held = incoming if self.held is None else {k: _cat(self.held[k], incoming[k]) for k in incoming}
            return dict(batch)
        if self.held is None or filled < count:
            raise ValueError(f"pair_pool: {self.size} samples are fewer than a batch of {count}; enlarge the pool")
        self.exchanges += 1
        slots = torch.randperm(filled, generator=torch_generator(self.seed, "pair_pool", self.exchanges))[:count]
        outgoing = {key: _select(self.held[key], slots) for key in incoming}
        self.held = {key: _replace(self.held[key], slots, incoming[key]) for key in incoming}
        return {**outgoing, "skipped": batch.get("skipped", [])}

    def state_dict(self) -> dict[str, Any]:
        """The pool as plain data."""
        contents = {
            key: [record.to_dict() for record in value] if isinstance(value, RecordBatch) else value
            for key, value in (self.held or {}).items()
        }
        return {"exchanges": self.exchanges, "held": contents, "filled": self.held is not None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        self.exchanges = state["exchanges"]
        self.held = None
        if state["filled"]:
            self.held = {key: _loaded(key, value) for key, value in state["held"].items()}


def _loaded(key: str, value: Any) -> Any:
    if key == "degradation":
        return RecordBatch(DegradationRecord.from_dict(row) for row in value)
    return value.clone() if isinstance(value, Tensor) else list(value)  # the pool changes its tensors in place


def _length(batch: Mapping[str, Any]) -> int:
    return len(next(value for value in batch.values() if isinstance(value, Tensor)))


def _cat(one: Any, other: Any) -> Any:
    if isinstance(one, Tensor):
        return torch.cat([one, other])
    return RecordBatch.cat([one, other]) if isinstance(one, RecordBatch) else [*one, *other]


def _select(value: Any, slots: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value[slots.to(value.device)]
    return value.index_select(slots) if isinstance(value, RecordBatch) else [value[i] for i in slots.tolist()]


def _replace(value: Any, slots: Tensor, new: Any) -> Any:
    if isinstance(value, Tensor):
        value[slots.to(value.device)] = new
        return value
    items = list(value)
    for slot, item in zip(slots.tolist(), new, strict=True):
        items[slot] = item
    return RecordBatch(items) if isinstance(value, RecordBatch) else items
