"""The names that basicsr registers, read from its source files in milliseconds; importing it would take seconds."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_FOLDERS = ("archs", "data", "losses", "metrics", "models")
_REGISTRATION = re.compile(r"^@\w+_REGISTRY\.register\(", re.MULTILINE)
_END_OF_HEAD = re.compile(r"\n    (?:def |@)|\n\n\n")


@cache
def basicsr_names() -> dict[str, dict[str, tuple[str, str]]]:
    """Names that basicsr registers, without importing it (nor torch).

    Returns:
        `{"ARCH_REGISTRY": {name: (module, first line of the docstring)}, ...}`, without the suffix `_basicsr`; empty if
            basicsr is not installed.
    """
    spec = find_spec("basicsr")
    if spec is None or not spec.submodule_search_locations:
        return {}
    names: dict[str, dict[str, tuple[str, str]]] = {}
    for root in map(Path, spec.submodule_search_locations):
        for file in sorted(file for folder in _FOLDERS for file in (root / folder).glob("*.py")):
            module = f"basicsr.{file.parent.name}.{file.stem}"
            for registry, name, summary in _registrations(file.read_text(encoding="utf-8")):
                names.setdefault(registry, {})[name] = (module, summary)
    return names


def _registrations(source: str) -> list[tuple[str, str, str]]:
    """`(registry, name, summary)` of every class and function with a `@X_REGISTRY.register()` decorator."""
    rows = []
    for start in [match.start() for match in _REGISTRATION.finditer(source)]:
        rows += [row for node in _parse_head(source, start) for row in _described(node)]
    return rows


def _parse_head(source: str, start: int) -> list[ast.stmt]:
    """The statement at `start` up to its docstring; parsing whole files would take five times as long."""
    end = _END_OF_HEAD.search(source, start)
    try:
        return ast.parse(source[start : end.start() if end else None] + "\n    pass\n").body[:1]
    except SyntaxError:  # the text was cut inside an unusual statement
        line = source.count("\n", 0, start) + 1
        body = ast.parse(source).body
        return [node for node in body if getattr(node, "decorator_list", []) and node.decorator_list[0].lineno == line]  # type: ignore[attr-defined]


def _described(node: ast.stmt) -> list[tuple[str, str, str]]:
    if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return []
    summary = (ast.get_docstring(node) or "").strip().partition("\n")[0].strip()
    return [
        (decorator.func.value.id, node.name, summary)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and isinstance(decorator.func.value, ast.Name)
    ]
