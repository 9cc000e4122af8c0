"""YAML files as text: the lines and comments of each key, and values as text that is read back as the same value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from uir.config.yaml_file import KeyPath, YamlDumper, YamlLoader, parse_yaml

_KEEPS_END = re.compile(r"[|>]\d*\+")  # a text that keeps the blank lines at its end
_ANCHOR = re.compile(r"(^|[\s,\[{])[&*][^\s,\]}]+")


@dataclass(frozen=True)
class Entry:
    """A key of a mapping and its value, as text. Lines are counted from 0.

    Attributes:
        first: the first line of the comments above it; all comments after the key before it count as such.
        line, column: the place of the key.
        last: the last line of the value.
        text: the value's own text, without an anchor.
        style: `line` if the value ends on the line of its key, `mapping` if it is a mapping on its own lines, `lines`
            if it is another value of several lines, `inner` if the key is in a `{...}`.
        tail: the comment at the end of the key's line; empty if there is none.
    """

    first: int
    line: int
    column: int
    last: int
    text: str
    style: str
    tail: str


@dataclass(frozen=True)
class SourceText:
    """A YAML file: its lines, and its entries by key path."""

    lines: tuple[str, ...]
    entries: dict[KeyPath, Entry]

    @property
    def rest(self) -> list[str]:
        """The lines after the last entry."""
        last = max((entry.last for entry in self.entries.values()), default=-1)
        return [line for line in self.lines[last + 1 :] if not line.startswith("...")]

    def above(self, entry: Entry) -> list[str]:
        """The comments and blank lines above an entry."""
        return [line for line in self.lines[entry.first : entry.line] if not line.startswith(("---", "%", "..."))]


def source_text(file: Path) -> SourceText:
    """A YAML file as text; the file must be valid YAML."""
    text = file.read_text(encoding="utf-8").rstrip("\n") + "\n"
    lines = text.split("\n")
    entries: dict[KeyPath, Entry] = {}
    loader = YamlLoader(text)
    try:
        node = loader.get_single_node()
    finally:
        loader.dispose()
    if isinstance(node, yaml.MappingNode):
        _collect(node, (), -1, text, lines, entries)
    return SourceText(tuple(lines), entries)


def _collect(
    node: yaml.MappingNode, path: KeyPath, above: int, text: str, lines: list[str], entries: dict[KeyPath, Entry]
) -> int:
    """Add the entries of a mapping to `entries`, and return its last line. `above` is the last line before it."""
    last = above
    for key, value in node.value:
        here = (*path, str(key.value))
        line, column = key.start_mark.line, key.start_mark.column
        ends, style = max(_last_line(value, lines), line), "lines"
        alias = value.start_mark.index < key.start_mark.index
        if alias:
            ends, style = line, "inner"  # an alias: its text is at another place
        elif node.flow_style:
            style = "inner"
        elif isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
            style = "mapping"
        elif ends == line:
            style = "line"
        own = re.sub(r"^&\S+\s*", "", text[value.start_mark.index : value.end_mark.index].strip())
        tail = lines[line][value.end_mark.column :] if style == "line" else lines[line].partition(":")[2]
        tail = tail.strip() if tail.strip().startswith("#") else ""
        entries[here] = Entry(min(last + 1, line), line, column, ends, own, style, tail)
        if isinstance(value, yaml.MappingNode) and not alias:
            _collect(value, here, line, text, lines, entries)
        last = max(last, ends)
    return last


def _last_line(node: yaml.Node, lines: list[str]) -> int:
    """The last line of a value; a collection ends before the comments above the next key."""
    end = node.end_mark
    line = end.line - 1 if end.column == 0 and end.line > node.start_mark.line else end.line
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        item = node.value[-1]
        least = _last_line(item[1] if isinstance(item, tuple) else item, lines)
        line = end.line - 1
        while line > least and (not lines[line].strip() or lines[line].lstrip().startswith("#")):
            line -= 1
    return line


def chunk(source: SourceText, entry: Entry, key: Any, value: Any, indent: int) -> list[str] | None:
    """The lines of an entry, with this key and indentation; None if they would have another value than `value`."""
    if entry.style not in ("line", "mapping", "lines"):
        return None
    own = list(source.lines[entry.line : entry.last + 1])
    if any(line.strip() and not line.startswith(" " * entry.column) for line in own):
        return None
    lines = [" " * indent + line[entry.column :] if line.strip() else "" for line in own]
    renamed = " " * indent + write_inline(key) + lines[0][lines[0].find(":") :]
    for first in (lines[0], renamed):
        text = "\n".join([first, *lines[1:]])
        try:
            apart = not _ANCHOR.search(text) and not _KEEPS_END.search(text)
            if apart and same(parse_yaml(text + "\n"), {key: value}):
                return [first, *lines[1:]]
        except yaml.YAMLError:
            pass
    return None


def same(one: Any, other: Any) -> bool:
    """Whether two values and their types are equal: 1, 1.0 and true differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return list(one) == list(other) and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


def write_inline(value: Any) -> str:
    """A value on one line."""
    text = yaml.dump(
        value, Dumper=YamlDumper, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


def leaf_text(entry: Entry | None, value: Any) -> str:
    """A value on one line, as the user wrote it if possible."""
    if entry is not None and not re.search(r"[\n#&*]", entry.text):
        try:
            if same(parse_yaml(entry.text), value):
                return entry.text or write_inline(value)
        except yaml.YAMLError:
            pass
    return write_inline(value)


def block_lines(key: Any, value: Sequence[Any], indent: int) -> list[str]:
    """A list that holds mappings, on lines of its own."""
    text = yaml.dump({key: value}, Dumper=YamlDumper, default_flow_style=None, width=10**9, sort_keys=False)
    return [" " * indent + line for line in text.splitlines()]
