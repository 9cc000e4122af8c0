"""Reads option files in another toolbox's dialect: one function recognises them and gives uir's own form.

A dialect is a function that is registered from outside (`register_dialect`). It takes the merged mapping and the places
of its keys, and returns a `Translation`, or None if the file is not in its dialect. Loading a file and `uir convert`
both use `translate`.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uir.config.problems import Problem
    from uir.config.yaml_file import KeyPath, Mark


logger = logging.getLogger("uir")


class DialectError(ValueError):
    """A mistake in a file of a dialect; `path` is its place, a key of the mapping that the dialect was given."""

    def __init__(self, path: KeyPath, message: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True)
class Translation:
    """An option file in uir's form.

    Attributes:
        raw: the mapping.
        marks: the places where its keys were written.
        moved: for each key of `raw` that has another path in the user's file, that path.
        notes: sentences on what was translated.
        reasons: why a key of the user's file is not in `raw`, or has another form there.
        refused: keys of the user's file without an equivalent in uir, each with a sentence on what would be right; they
            are not in `raw`.
        dialect: the toolbox whose dialect it is (`DCPT's`); empty if the file is in uir's form.
        mistakes: keys of the user's file without a valid meaning in its dialect, each with what is wrong; they are not
            in `raw`.
    """

    raw: dict[str, Any]
    marks: dict[KeyPath, Mark]
    moved: dict[KeyPath, KeyPath] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reasons: dict[KeyPath, str] = field(default_factory=dict)
    refused: dict[KeyPath, str] = field(default_factory=dict)
    dialect: str = ""
    mistakes: dict[KeyPath, str] = field(default_factory=dict)

    def written(self, path: KeyPath) -> KeyPath:
        """The path of a key of `raw` in the user's file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.moved:
                return (*self.moved[path[:length]], *path[length:])
        return path

    def as_written(self, problem: Problem | str) -> Problem | str:
        """The same mistake, with the key names of the user's file."""
        if isinstance(problem, str):
            return problem
        for new in sorted(self.moved, key=len, reverse=True):
            dotted = ".".join(map(str, new))
            if re.match(re.escape(dotted) + r"(?![\w-])", problem.message):
                written = ".".join(map(str, self.moved[new]))
                return type(problem)(problem.mark, written + problem.message[len(dotted) :])
        return problem

    def then(self, following: Translation) -> Translation:
        """Both translations as one; `following` was made from the result of this one."""
        moved = self.moved | {new: self.written(old) for new, old in following.moved.items()}
        return Translation(
            following.raw,
            following.marks,
            moved,
            self.notes + following.notes,
            self.reasons | {self.written(path): text for path, text in following.reasons.items()},
            self.refused | {self.written(path): text for path, text in following.refused.items()},
            " and ".join(name for name in (self.dialect, following.dialect) if name),
            self.mistakes,
        )


Dialect = Callable[[Mapping[str, Any], "Mapping[KeyPath, Mark]"], "Translation | None"]
_dialects: list[Dialect] = []


def register_dialect(dialect: Dialect) -> None:
    """Add a dialect; a file passes through all dialects in the order of their registration."""
    if dialect not in _dialects:
        _dialects.append(dialect)


def translate(raw: Mapping[str, Any], marks: Mapping[KeyPath, Mark], quiet: bool = False) -> Translation:
    """A merged option mapping in uir's form; a mapping that is in no dialect is not changed.

    Args:
        raw: the mapping; it is not changed.
        marks: the places where its keys were written.
        quiet: do not log the notes.
    """
    result = Translation(dict(raw), dict(marks))
    for dialect in _dialects:
        translation: Translation | None = None
        while translation is None:
            try:
                translation = dialect(result.raw, result.marks) or Translation(result.raw, result.marks)
            except DialectError as error:
                rest = _without(result.raw, error.path)
                result = replace(result, raw=rest, mistakes={**result.mistakes, result.written(error.path): str(error)})
        result = result.then(translation)
    if result.notes and not quiet:
        logger.warning("The option file is in %s dialect; it is read as: %s", result.dialect, "; ".join(result.notes))
    return result


def _without(raw: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
    """A copy of a mapping without the key at `path`, so that the rest of the file can be read."""
    rest: dict[str, Any] = copy.deepcopy(dict(raw))
    section: Any = rest
    for key in path[:-1]:
        section = section[key]
    del section[path[-1]]
    return rest


def laid_marks(marks: Mapping[KeyPath, Mark], moved: Mapping[KeyPath, KeyPath]) -> dict[KeyPath, Mark]:
    """The marks of the user's file, and the same marks under the new paths of the keys that moved."""
    laid = dict(marks)
    for new, old in sorted(moved.items(), key=lambda item: len(item[0])):
        laid |= {(*new, *path[len(old) :]): mark for path, mark in marks.items() if path[: len(old)] == old}
    return laid
