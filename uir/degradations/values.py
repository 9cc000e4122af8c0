"""The values of an op's parameter: a fixed number, a range, or a choice; the same form for all ops.

sigma: 25                       always 25
sigma: [5, 50]                  uniform between 5 and 50
sigma: {choice: [15, 25, 50]}   one of these, equally likely
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from uir.core.seeds import numpy_generator

Numbers = float | list[float] | tuple[float, float] | dict[str, list[float]]


@dataclass(frozen=True)
class Values:
    """A checked parameter that can be drawn.

    Attributes:
        name: the parameter's name; draws are keyed by it, so a change of one parameter does not change the others.
        kind: how it is drawn.
        numbers: the fixed number, the two ends of the range, or the choices.
        integer: draws are whole numbers, and both ends of a range are possible.
    """

    name: str
    kind: Literal["fixed", "uniform", "choice"]
    numbers: tuple[float, ...]
    integer: bool = False

    @classmethod
    def of(
        cls,
        where: str,
        given: Numbers,
        at_least: float = -math.inf,
        at_most: float = math.inf,
        integer: bool = False,
    ) -> Values:
        """Check the user's value.

        Args:
            where: `Op.parameter`, for messages; the part after the last dot is the name.
            given: a number, `[low, high]`, or `{choice: [a, b, ...]}`.
            at_least, at_most: the bounds of every number, inclusive.
            integer: only whole numbers.

        Raises:
            ValueError: the value has none of the three forms, the ends are swapped, or a number is out of bounds.
        """
        kind: Literal["fixed", "uniform", "choice"]
        if isinstance(given, Mapping):
            if set(given) != {"choice"} or not isinstance(given["choice"], (list, tuple)) or not given["choice"]:
                raise ValueError(f"{where}: a mapping must be {{choice: [a, b, ...]}}, got {given!r}")
            kind, numbers = "choice", list(given["choice"])
        elif isinstance(given, (list, tuple)):
            if len(given) != 2:
                raise ValueError(
                    f"{where}: a range is [low, high], got {len(given)} numbers; a choice is {{choice: {list(given)}}}"
                )
            kind, numbers = "uniform", list(given)
        else:
            kind, numbers = "fixed", [given]
        checked = tuple(_number(where, n, at_least, at_most, integer) for n in numbers)
        if kind == "uniform" and checked[0] > checked[1]:
            raise ValueError(f"{where}: the range [{numbers[0]}, {numbers[1]}] is empty; write the lower end first")
        return cls(where.rpartition(".")[2], kind, checked, integer)

    def draw(self, seed: int, exponent: float = 1) -> float:
        """One value (an int if `integer`), from a generator keyed by (seed, name).

        Args:
            seed: seed of the draw.
            exponent: a range is drawn evenly in this power of the value: 1 the value itself, 2 its square, -1 its
                inverse. Not for whole numbers.
        """
        if self.kind == "fixed":
            return self.numbers[0]
        generator = numpy_generator(seed, self.name)
        if self.kind == "choice":
            return self.numbers[int(generator.integers(len(self.numbers)))]
        low, high = self.numbers
        if self.integer:
            return int(generator.integers(int(low), int(high), endpoint=True))
        if exponent == 1:
            return float(generator.uniform(low, high))
        value = float(generator.uniform(*sorted((low**exponent, high**exponent)))) ** (1 / exponent)
        return min(max(value, low), high)


def check_probability(where: str, given: Any) -> float:
    """Check a number in [0, 1] and return it.

    Raises:
        ValueError: it is outside.
    """
    return float(_number(where, given, 0.0, 1.0, False))


def coin(seed: int, name: str, probability: float) -> bool:
    """True with the given probability, from a generator keyed by (seed, name)."""
    return bool(numpy_generator(seed, name).random() < probability)


def _number(where: str, given: Any, at_least: float, at_most: float, integer: bool) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise ValueError(f"{where}: expected a number, [low, high] or {{choice: [...]}}, got {given!r}")
    if not math.isfinite(given) or (integer and given != int(given)):
        raise ValueError(f"{where}: expected a {'whole' if integer else 'finite'} number, got {given!r}")
    if not at_least <= given <= at_most:
        bounds = f"at least {at_least:g}" if math.isinf(at_most) else f"between {at_least:g} and {at_most:g}"
        raise ValueError(f"{where}: must be {bounds}, got {given!r}")
    return int(given) if integer else float(given)
