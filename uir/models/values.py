"""Values by name: what a step has to offer to the losses, each computed when it is first asked for.

A method offers a value by a method of its own:

    @offers("fake_logits", runs=("d", "g"))
    def judged(self) -> Tensor:
        return self.net_d(self.value("restored"))

A loss that says `inputs = ("fake_logits",)` is called with it.
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
        name: what losses call it.
        runs: roles of the networks that run for it; a value that it asks for adds its own.
        attribute: the name of the method that computes it.
    """

    name: str
    runs: frozenset[str]
    attribute: str = ""


def offers(name: str, runs: Collection[str] = ()) -> Callable[[Function], Function]:
    """Mark a method of a training method as what computes the value `name`.

    Args:
        name: what losses call it.
        runs: roles of the networks that run for it.
    """

    def mark(function: Function) -> Function:
        function.offer = Offer(name, frozenset(runs))  # type: ignore[attr-defined]
        return function

    return mark


def offers_of(cls: type) -> dict[str, Offer]:
    """What a training method offers, by name; a class offers what its bases do."""
    by_name: dict[str, Offer] = {}
    for base in reversed(cls.__mro__):
        for attribute, function in vars(base).items():
            offer = getattr(function, "offer", None)
            if isinstance(offer, Offer):
                by_name[offer.name] = Offer(offer.name, offer.runs, attribute)
    return by_name


@dataclass
class _Kept:
    value: Any
    runs: frozenset[str]
    turn: int


class Values:
    """The values of one batch.

    A value that networks in training have made is made again for another objective, whose gradients they need; one that
    only others have made is handed on without gradients.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._running: list[set[str]] = []
        self._turn = 0
        self._trained: frozenset[str] = frozenset()

    def start_objective(self, trained: Collection[str]) -> None:
        """Another objective is minimised, over the networks of these roles."""
        self._turn += 1
        self._trained = frozenset(trained)

    def clear(self) -> None:
        """Forget all: another batch comes, or the step is done."""
        self._kept.clear()

    def get(self, name: str, compute: Callable[[], Any], runs: frozenset[str]) -> Any:
        """The value, computed where it is not there yet."""
        kept = self._kept.get(name)
        if kept is None or (kept.turn != self._turn and not kept.runs.isdisjoint(self._trained)):
            self._running.append(set(runs))
            try:
                value = compute()
            finally:
                running = self._running.pop()
            kept = self._kept[name] = _Kept(value, frozenset(running), self._turn)
        if self._running:
            self._running[-1] |= kept.runs
        return kept.value if kept.turn == self._turn else without_gradients(kept.value)


def without_gradients(value: Any) -> Any:
    """The same value cut off from what made it: tensors, codes, and lists, tuples and mappings of them."""
    if isinstance(value, Tensor | DegradationCode):
        return value.detach()
    if isinstance(value, dict):
        return {key: without_gradients(entry) for key, entry in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(without_gradients, value))
    if isinstance(value, list | tuple):
        return type(value)(map(without_gradients, value))
    return value
