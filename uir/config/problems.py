"""Messages for the mistakes of an option file: the place, the mistake, and the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from uir.config.yaml_file import KeyPath, Mark
from uir.registry import nearest_names

_NOUNS = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "string": "text",
    "dict": "a mapping",
    "model": "a mapping",
    "mapping": "a mapping",
    "list": "a list",
    "tuple": "a list",
    "path": "a path",
}
# Keys of other toolboxes, and what to write instead.
ADVICE = {
    "use_amp": "; mixed precision is `precision: bf16` (or fp16) at the top level",
    "amp": "; mixed precision is `precision: bf16` (or fp16) at the top level",
    "use_compile": "; compiling is `compile: true` at the top level",
    "accum_iter": "; accumulation is `train.accumulate`",
}


@dataclass(frozen=True)
class Problem:
    """One mistake of an option file."""

    mark: Mark | None
    message: str

    def __str__(self) -> str:
        return f"{self.mark}: {self.message}" if self.mark else self.message

    @classmethod
    def at(cls, path: KeyPath, marks: Mapping[KeyPath, Mark], message: str) -> Problem:
        """A mistake at a key path; if the key is not in the file, its place is that of the section around it."""
        place = path
        while place and place not in marks:
            place = place[:-1]
        dotted = ".".join(map(str, path))
        space = " " if dotted and not message.startswith(":") else ""
        return cls(marks.get(place), f"{dotted}{space}{message}")


def type_message(kind: str, message: str, value: Any) -> str:
    """The message for a value of a wrong type or out of range, made from the validator's message."""
    noun = _NOUNS.get(kind.split("_")[0])
    if noun and kind.endswith(("_type", "_parsing", "_from_float")):
        return f": expected {noun}, got {value!r}"
    text = message.removeprefix("Input should be ").removeprefix("Value error, ")
    return f": should be {text}, got {value!r}" if text != message else f": {text}, got {value!r}"


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...` with the valid names that are similar to a name; empty if none is."""
    near = nearest_names(name, known)
    if not near:
        return ""
    return f"; did you mean {near[0]}?" if len(near) == 1 else f"; nearest: {', '.join(near)}"


def similar(one: str, other: str) -> bool:
    """Whether one is likely a misspelling of the other."""
    return difflib.SequenceMatcher(None, one.lower(), other.lower()).ratio() >= 0.8
