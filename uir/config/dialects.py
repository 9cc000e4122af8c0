"""Option files in another toolbox's dialect: recognised at one place, read in uir's own form.

A dialect is a function that is registered from outside (`register_dialect`); it takes the merged mapping and where its
keys were written, and gives a `Translation`, or None where the file is not its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uir.config.problems import Problem
    from uir.config.yaml_file import KeyPath, Mark


class DialectError(ValueError):
    """A mistake in a file of a dialect; `path` says where."""

    def __init__(self, path: KeyPath, message: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True)
class Translation:
    """An option file in uir's form.

    Attributes:
        raw: the mapping.
        marks: where each of its keys was written.
        moved: where a key of `raw` stands in the user's file, for those that stand elsewhere.
        notes: what was translated, in words.
    """

    raw: dict[str, Any]
    marks: dict[KeyPath, Mark]
    moved: dict[KeyPath, KeyPath] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_written(self, problem: Problem | str) -> Problem | str:
        """The same mistake, told with the keys of the user's file."""
        if isinstance(problem, str):
            return problem
        for new in sorted(self.moved, key=len, reverse=True):
            dotted = ".".join(map(str, new))
            if re.match(re.escape(dotted) + r"(?![\w-])", problem.message):
                written = ".".join(map(str, self.moved[new]))
                return type(problem)(problem.mark, written + problem.message[len(dotted) :])
        return problem


Dialect = Callable[[Mapping[str, Any], "Mapping[KeyPath, Mark]"], "Translation | None"]
_dialects: list[Dialect] = []


def register_dialect(dialect: Dialect) -> None:
    """Let files of a dialect be read."""
    if dialect not in _dialects:
        _dialects.append(dialect)


def translate(raw: Mapping[str, Any], marks: Mapping[KeyPath, Mark]) -> Translation:
    """A merged option mapping in uir's form; one that is in no dialect comes back as it is.

    Raises:
        DialectError: a key of a dialect cannot be understood.
    """
    for dialect in _dialects:
        found = dialect(raw, marks)
        if found is not None:
            return found
    return Translation(dict(raw), dict(marks))
