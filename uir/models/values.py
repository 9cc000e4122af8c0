"""Values by name: the inputs that a step gives to the losses, each computed when it is first needed.

A training method offers a value by a marked method:

    @offers("fake_logits", runs=("d", "g"))
    def judged(self) -> Tensor:
        return self.net_d(self.value("restored"))

A loss with `inputs = ("fake_logits",)` is called with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from uir.layers.degradation_code import DegradationCode

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Offer:
    """A value that a method can compute.

    Attributes:
        name: its name in the losses.
        runs: roles of the networks that run for it; those of other values that it uses are added.
        attribute: the name of the method that computes it.
    """

    name: str
    runs: frozenset[str]
    attribute: str = ""


def offers(name: str, runs: Collection[str] = ()) -> Callable[[Function], Function]:
    """Mark a method of a training class: it computes the value `name`.

    Args:
        name: its name in the losses.
        runs: roles of the networks that run for it.
    """

    def mark(function: Function) -> Function:
        function.offer = Offer(name, frozenset(runs))  # type: ignore[attr-defined]
        return function

    return mark


def offers_of(cls: type) -> dict[str, Offer]:
    """The values that a training method offers, by name; those of its base classes are included."""
    by_name: dict[str, Offer] = {}
    for base in reversed(cls.__mro__):
        for attribute, function in vars(base).items():
            offer = getattr(function, "offer", None)
            if isinstance(offer, Offer):
                by_name[offer.name] = Offer(offer.name, offer.runs, attribute)
    return by_name


@dataclass
class _Stored:
    value: Any
    runs: frozenset[str]
    turn: int


class Values:
    """The values of one batch.

    A value that was computed by networks of the next objective is computed again for it, because they need its
    gradients. A value that was computed only by other networks is used again without gradients.
    """

    def __init__(self) -> None:
        self._stored: dict[str, _Stored] = {}
        self._running: list[set[str]] = []
        self._turn = 0
        self._trained: frozenset[str] = frozenset()

    def start_objective(self, trained: Collection[str]) -> None:
        """Start another objective, which trains the networks of these roles."""
        self._turn += 1
        self._trained = frozenset(trained)

    def clear(self) -> None:
        """Forget all values: another batch comes, or the step is done."""
        self._stored.clear()

    def get(self, name: str, compute: Callable[[], Any], runs: frozenset[str]) -> Any:
        """The value, computed if it is not stored yet."""
        stored = self._stored.get(name)
        if stored is None or (stored.turn != self._turn and not stored.runs.isdisjoint(self._trained)):
            self._running.append(set(runs))
            try:
                value = compute()
            finally:
                running = self._running.pop()
            stored = self._stored[name] = _Stored(value, frozenset(running), self._turn)
        if self._running:
            self._running[-1] |= stored.runs
        return stored.value if stored.turn == self._turn else without_gradients(stored.value)


def without_gradients(value: Any) -> Any:
    """The same value without its gradient history: tensors, codes, and lists, tuples and mappings of them."""
    if isinstance(value, Tensor | DegradationCode):
        return value.detach()
    if isinstance(value, dict):
        return {key: without_gradients(entry) for key, entry in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(without_gradients, value))
    if isinstance(value, list | tuple):
        return type(value)(map(without_gradients, value))
    return value
