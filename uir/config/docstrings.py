"""Reads the descriptions of arguments from docstrings (`Args:` in Google's style), for help texts."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Collection, Iterator
from typing import Any

_SECTION = re.compile(r"^\s*(?:Args|Arguments|Parameters|Keyword Args)\s*:\s*$")
_OTHER_SECTION = re.compile(r"^\s*(?:Returns?|Raises|Yields|Examples?|Notes?|Attributes|See Also|References)\s*:\s*$")
_ENTRY = re.compile(r"^(?P<names>\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?:\(.*?\))?\s*:(?:\s+(?P<text>.*))?$")
_ELSEWHERE = re.compile(r"\b(?:as|like) (?:in|for|of) `?(\w+)`?")


def argument_descriptions(target: Any, names: Collection[str]) -> dict[str, str]:
    """The descriptions of arguments of a class or function, each on one line.

    The class's own docstring comes first, then its constructor's, then those of its base classes. For `Arguments as in
    ssim` the docstring of `ssim` is read, if the module has this name.

    Args:
        target: the class or function.
        names: the arguments to describe.

    Returns:
        Text by argument, without the arguments that have no description.
    """
    return _collect(target, names, seen=set())


def parse_arguments(docstring: str | None, names: Collection[str]) -> dict[str, str]:
    """The entries of a docstring's `Args:` section for these names.

    `name: text`, `name (type): text` and `a, b: text` are read; a text may have several lines. Entries inside another
    entry's text (BasicSR lists the keys of `opt` like this) count too, if the outer name is not in `names`.
    """
    texts: dict[str, list[str]] = {}
    current: list[list[str]] = []  # the texts that a line belongs to
    margin = 0
    for indent, line in _section_lines(docstring):
        entry = _ENTRY.match(line)
        entry_names = [name.strip().lstrip("*") for name in entry["names"].split(",")] if entry else []
        nested = not current and all(name in names for name in entry_names)
        if entry and (indent in (0, margin) or nested):
            margin = indent
            current = [texts.setdefault(name, []) for name in entry_names if name in names and name not in texts]
            line = entry["text"] or ""
        elif indent <= margin:
            current = []  # a sentence between the entries
        for text in current:
            text.append(line)
    return {name: " ".join(" ".join(lines).split()) for name, lines in texts.items() if any(lines)}


def _section_lines(docstring: str | None) -> Iterator[tuple[int, str]]:
    """The lines of the `Args:` section, each with its indentation relative to the section's first line."""
    inside, margin, head = False, None, 0
    for line in inspect.cleandoc(docstring or "").splitlines():
        indent = len(line) - len(line.lstrip())
        if _SECTION.match(line):
            inside, margin, head = True, None, indent
        elif inside and line.strip():
            if indent <= head or _OTHER_SECTION.match(line):
                inside = False
                continue
            margin = indent if margin is None else margin
            yield max(indent - margin, 0), line.strip()


def _collect(target: Any, names: Collection[str], seen: set[int]) -> dict[str, str]:
    if id(target) in seen:
        return {}
    seen.add(id(target))
    texts: dict[str, str] = {}
    for source in _sources(target):
        docstring = source.__dict__.get("__doc__") if inspect.isclass(source) else getattr(source, "__doc__", None)
        written = parse_arguments(docstring, names)
        for name in names:
            text = written.get(name)
            referred = _ELSEWHERE.search(text if text is not None else docstring or "")
            if referred and (text is None or referred.start() == 0) and name not in texts:
                other = getattr(sys.modules.get(source.__module__), referred[1], None)
                text = _collect(other, names, set(seen)).get(name, text)
            if text is not None:
                texts.setdefault(name, text)
    return {name: texts[name] for name in names if name in texts}


def _sources(target: Any) -> list[Any]:
    """The class and its base classes, each followed by its constructor; or the function itself."""
    if not inspect.isclass(target):
        return [target]
    own = [cls for cls in target.__mro__ if cls is not object]
    return [part for cls in own for part in (cls, cls.__dict__.get("__init__")) if part is not None]
