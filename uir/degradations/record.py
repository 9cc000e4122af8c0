"""The record of an image: the ordered steps, their parameters and seeds. Plain data, JSON in and out, no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from torch import Tensor

Step = dict[str, Any]
MARK = "Mark"  # the op that changes nothing and only notes the chosen branch


@dataclass(frozen=True)
class DegradationRecord:
    """The history of one image. Two records are equal if all their content is equal.

    Args:
        steps: the ops really applied, in order, each `{"op": name, parameter: value, ...}` with the unit in the key
            (`sigma_255`, `angle_deg`) and `"seed"` if the op drew a field. `None` means unknown (a real pair), `()`
            means clean.
        seed: the key of all random values; None if there are none.
        label: the name of the task, if it has one.

    Raises:
        ValueError: a step has no `op`, a value cannot be stored exactly in JSON, or a seed or label has another type.
    """

    steps: tuple[Step, ...] | None
    seed: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.seed is not None and type(self.seed) is not int:
            raise ValueError(f"record: seed must be an int or None, got {self.seed!r} ({type(self.seed).__name__})")
        if self.label is not None and not isinstance(self.label, str):
            raise ValueError(f"record: label must be a string or None, got {self.label!r}")
        if self.steps is None:
            return
        if isinstance(self.steps, (str, Mapping)) or not isinstance(self.steps, Iterable):
            raise ValueError(f"record: steps must be a list of mappings or None (unknown), got {self.steps!r}")
        steps = tuple(_plain_step(step, f"steps[{index}]") for index, step in enumerate(self.steps))
        object.__setattr__(self, "steps", steps)

    @property
    def is_known(self) -> bool:
        """Whether the history is known; for a real pair it is not."""
        return self.steps is not None

    @property
    def is_clean(self) -> bool:
        """Whether the image is known to be clean."""
        return self.steps is not None and not self.applied

    @property
    def applied(self) -> tuple[Step, ...]:
        """The steps that changed the image, without marks; empty if unknown."""
        return tuple(step for step in self.steps or () if step["op"] != MARK)

    @property
    def ops(self) -> tuple[str, ...] | None:
        """Names of the steps, in order; None if unknown."""
        return None if self.steps is None else tuple(step["op"] for step in self.steps)

    def with_label(self, label: str | None) -> DegradationRecord:
        """The same history with another task label."""
        return replace(self, label=label)

    def to_dict(self) -> dict[str, Any]:
        """`{"label", "seed", "steps"}` of plain JSON types; a copy that you may change."""
        steps = None if self.steps is None else [_plain(step, "") for step in self.steps]
        return {"label": self.label, "seed": self.seed, "steps": steps}

    def to_json(self) -> str:
        """One line of JSON; `from_json` returns an equal record, floats bit for bit."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DegradationRecord:
        """The record that `to_dict` described.

        Raises:
            ValueError: `steps` is missing, a key is unknown, or a step is malformed.
        """
        if not isinstance(data, Mapping) or "steps" not in data:
            raise ValueError(
                f"record: expected a mapping with `steps` (a list or null), `seed` and `label`, got {data!r}"
            )
        unknown = sorted(set(data) - {"steps", "seed", "label"})
        if unknown:
            raise ValueError(f"record: unknown keys {unknown}; a record has `steps`, `seed` and `label`")
        return cls(data["steps"], data.get("seed"), data.get("label"))

    @classmethod
    def from_json(cls, text: str) -> DegradationRecord:
        """The record that `to_json` wrote.

        Raises:
            ValueError: not JSON, or not a record.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"record: not valid JSON ({error}): {text[:80]!r}") from None
        return cls.from_dict(data)


class RecordBatch:
    """The records of a batch, in its order; an immutable sequence.

    This is not a `collections.abc.Sequence`: torch's pinning thread would take one apart and rebuild it as a list.
    """

    __slots__ = ("_records",)

    def __init__(self, records: Iterable[DegradationRecord]) -> None:
        self._records = tuple(records)
        for index, record in enumerate(self._records):
            if not isinstance(record, DegradationRecord):
                raise ValueError(f"RecordBatch[{index}]: expected a DegradationRecord, got {type(record).__name__}")

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[DegradationRecord]:
        return iter(self._records)

    @overload
    def __getitem__(self, index: int) -> DegradationRecord: ...
    @overload
    def __getitem__(self, index: slice) -> RecordBatch: ...
    def __getitem__(self, index: int | slice) -> DegradationRecord | RecordBatch:
        return RecordBatch(self._records[index]) if isinstance(index, slice) else self._records[index]

    def __eq__(self, other: object) -> bool:
        return self._records == other._records if isinstance(other, RecordBatch) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # steps are dictionaries

    def __repr__(self) -> str:
        return f"RecordBatch({list(self._records)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return RecordBatch, (self._records,)

    @property
    def labels(self) -> tuple[str | None, ...]:
        """The task label of each record."""
        return tuple(record.label for record in self._records)

    def index_select(self, indices: Tensor | Sequence[int]) -> RecordBatch:
        """The records at `indices`, in that order; repeats are allowed, as in `torch.index_select(x, 0, indices)`.

        Raises:
            ValueError: the indices are not a flat list of integers.
            IndexError: one is out of range.
        """
        flat = indices if isinstance(indices, (list, tuple, range)) else indices.tolist()  # type: ignore[union-attr]
        if not isinstance(flat, (list, tuple, range)) or any(type(i) is not int for i in flat):
            raise ValueError(
                f"RecordBatch.index_select: expected a flat list or 1-D tensor of integers, got {indices!r}"
            )
        outside = [i for i in flat if not 0 <= i < len(self)]
        if outside:
            raise IndexError(f"RecordBatch.index_select: {outside[0]} is not in [0, {len(self)})")
        return RecordBatch(self._records[i] for i in flat)

    @classmethod
    def cat(cls, batches: Iterable[RecordBatch]) -> RecordBatch:
        """All records of several batches, in order."""
        return cls(record for batch in batches for record in batch)

    def pin_memory(self, device: object = None) -> RecordBatch:
        """Itself: there is no tensor to pin."""
        return self


def marked_label(steps: Iterable[Mapping[str, Any]]) -> str | None:
    """The label that a pipeline marked last, if there is one."""
    labels = [step["label"] for step in steps if step["op"] == MARK and "label" in step]
    return labels[-1] if labels else None


def _plain_step(step: Any, where: str) -> Step:
    if not isinstance(step, Mapping) or not isinstance(step.get("op"), str):
        raise ValueError(
            f"record: {where} must be a mapping that names its op, such as {{'op': 'Haze', ...}}; got {step!r}"
        )
    plain: Step = _plain(step, where)
    return plain


def _plain(value: Any, where: str) -> Any:
    """A deep copy of plain JSON types: mappings as dict, tuples as list; everything else is an error."""
    if isinstance(value, Mapping):
        for key in value:
            if type(key) is not str:
                raise ValueError(f"record: {where} has the key {key!r}; keys must be strings")
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    # exact types: a numpy scalar that is a subclass of float would change its type through JSON
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return value
    raise ValueError(
        f"record: {where} is {value!r} ({type(value).__name__}); only finite numbers, strings, booleans, null, lists "
        "and mappings fit in a record (a field is a seed or a file name, a tensor or numpy scalar is `.item()`)"
    )
