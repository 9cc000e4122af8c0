"""Option files in another toolbox's dialect: recognised at one place, read in uir's own form.

A dialect is a function that is registered from outside (`register_dialect`); it takes the merged mapping and where its
keys were written, and gives a `Translation`, or None where the file is not its own. Loading a file and `uir convert`
both read it through `translate`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uir.config.problems import Problem
    from uir.config.yaml_file import KeyPath, Mark


logger = logging.getLogger("uir")


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
        reasons: why a key of the user's file is not in `raw`, or is there in another form.
        refused: keys of the user's file that uir has nothing for, each with a sentence on what would be right; they are
            not in `raw`.
        dialect: whose files are written so; empty where the file is in uir's form.
    """

    raw: dict[str, Any]
    marks: dict[KeyPath, Mark]
    moved: dict[KeyPath, KeyPath] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reasons: dict[KeyPath, str] = field(default_factory=dict)
    refused: dict[KeyPath, str] = field(default_factory=dict)
    dialect: str = ""

    def written(self, path: KeyPath) -> KeyPath:
        """Where a key of `raw` stands in the user's file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.moved:
                return (*self.moved[path[:length]], *path[length:])
        return path

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

    def then(self, following: Translation) -> Translation:
        """Both translations as one, `following` being made of the result of this one."""
        moved = self.moved | {new: self.written(old) for new, old in following.moved.items()}
        return Translation(
            following.raw,
            following.marks,
            moved,
            self.notes + following.notes,
            self.reasons | {self.written(path): text for path, text in following.reasons.items()},
            self.refused | {self.written(path): text for path, text in following.refused.items()},
            " and ".join(name for name in (self.dialect, following.dialect) if name),
        )


Dialect = Callable[[Mapping[str, Any], "Mapping[KeyPath, Mark]"], "Translation | None"]
_dialects: list[Dialect] = []


def register_dialect(dialect: Dialect) -> None:
    """Let files of a dialect be read; one after another, in the order of their registration."""
    if dialect not in _dialects:
        _dialects.append(dialect)


def translate(raw: Mapping[str, Any], marks: Mapping[KeyPath, Mark], quiet: bool = False) -> Translation:
    """A merged option mapping in uir's form; one that is in no dialect comes back as it is.

    Args:
        raw: the mapping; it is not changed.
        marks: where its keys were written.
        quiet: do not log what was translated.

    Raises:
        DialectError: a key of a dialect cannot be understood.
    """
    result = Translation(dict(raw), dict(marks))
    for dialect in _dialects:
        translation = dialect(result.raw, result.marks)
        if translation is not None:
            result = result.then(translation)
    if result.notes and not quiet:
        logger.warning("The option file is in %s dialect and is read so: %s", result.dialect, "; ".join(result.notes))
    return result


def laid_marks(marks: Mapping[KeyPath, Mark], moved: Mapping[KeyPath, KeyPath]) -> dict[KeyPath, Mark]:
    """The marks of the user's file, those of the keys that moved at their new place too."""
    laid = dict(marks)
    for new, old in sorted(moved.items(), key=lambda item: len(item[0])):
        laid |= {(*new, *path[len(old) :]): mark for path, mark in marks.items() if path[: len(old)] == old}
    return laid
