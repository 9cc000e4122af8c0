"""Writes an option file of another toolbox's dialect in uir's own keys, with the user's comments.

The content comes from `translate`, which is also used when such a file is read directly. This module only writes the
result as text: the keys keep their order, unchanged lines stay as the user wrote them, and every replaced key gets a
comment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uir.config.dialects import Translation, translate
from uir.config.options import OptionError, find_root, load_options, load_plugins_of, mistakes_of, read_merged
from uir.config.problems import Problem
from uir.config.yaml_file import KeyPath, Mark, parse_yaml, read_yaml
from uir.config.yaml_text import Entry, SourceText, block_lines, chunk, leaf_text, same, source_text, write_inline
from uir.core.files import home_expanded, replacing
from uir.registry.plugins import is_file_plugin, load_plugin

# Formats that other toolboxes use instead of YAML. Their sections differ too.
_OTHER_FORMS = {
    ".toml": "uir cannot read TOML files (neosr); an option file is YAML",
    ".json": "uir cannot read JSON files (KAIR); an option file is YAML",
}


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        text: the new file.
        replaced: the number of keys of the old file that got a comment on their replacement.
        refused: the keys without an equivalent in uir, each with its place and a sentence; they are comments in `text`.
        problems: the reasons why the new file cannot be used yet; empty if it can.
        notes: more sentences for the user.
    """

    text: str
    replaced: int
    refused: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def convert(old: Path, new: Path, plugins: tuple[str, ...] = (), root: Path | None = None) -> Conversion:
    """Write an option file in uir's keys; the keys of the file that it inherits from (`base`) are included.

    Args:
        old: the file to read.
        new: the file to write; an existing file is replaced.
        plugins: plugins besides those that the file names.
        root: the folder that relative paths start from.

    Raises:
        OptionError: `old` cannot be read, or a key of its dialect has no valid meaning.
        ValueError: `new` is one of the files that are read.
    """
    if old.suffix.lower() in _OTHER_FORMS:
        raise ValueError(f"{old}: {_OTHER_FORMS[old.suffix.lower()]}; write a new file like those in options/train")
    raw, marks = read_merged(old)
    if new.resolve() in _read_files(old):
        raise ValueError(f"{new}: is read for the conversion; give another name for the new file")
    for spec in plugins:
        load_plugin(spec, named_in="--plugin")
    load_plugins_of(deepcopy(raw), marks, old)
    translation = translate(raw, marks, quiet=True)
    if translation.mistakes:
        raise OptionError(mistakes_of(translation, marks))
    content = deepcopy(translation.raw)
    _place_plugins(content, marks, old, new)
    writer = _Writer(raw, marks, translation, content, old)
    text = writer.text()
    if not same(parse_yaml(text), content):
        raise AssertionError(f"the text written for {old} does not have the expected content when it is read")
    is_train = "train" in content
    with replacing(new) as temporary:
        temporary.write_text(text, encoding="utf-8")
        problems = _problems(temporary, new, is_train, root)
    refused = [str(Problem.at(path, marks, f": {reason}")) for path, reason in translation.refused.items()]
    return Conversion(text, writer.replaced, tuple(refused), problems, tuple(_moved_root(old, new, root)))


def _read_files(file: Path) -> set[Path]:
    """An option file and the files that it inherits from."""
    files: set[Path] = set()
    while file.resolve() not in files:
        files.add(file.resolve())
        content, _ = read_yaml(file)
        if content.get("base") is not None:
            file = file.parent / home_expanded(content["base"])
    return files


def _place_plugins(content: dict[str, Any], marks: Mapping[KeyPath, Mark], old: Path, new: Path) -> None:
    """Make the paths of plugin files relative to the folder of the new file."""
    plugins = content.get("plugins")
    for index, spec in enumerate(plugins if isinstance(plugins, list) else []):
        mark = marks.get(("plugins", index))
        folder = (mark.file if mark is not None else old).resolve().parent
        if isinstance(spec, str) and is_file_plugin(spec) and folder != new.resolve().parent:
            place = os.path.relpath(folder / home_expanded(spec), new.resolve().parent)
            content["plugins"][index] = place if place.startswith("..") else f"./{place}"


def _problems(temporary: Path, new: Path, is_train: bool, root: Path | None) -> tuple[str, ...]:
    try:
        load_options(temporary, is_train=is_train, root=root)
    except OptionError as error:
        return tuple(str(problem).replace(str(temporary), str(new)) for problem in error.problems)
    return ()


def _moved_root(old: Path, new: Path, root: Path | None) -> Iterator[str]:
    before, after = find_root(old), find_root(new)
    if root is None and before != after:
        yield f"{new}: its relative paths start at {after}, but those of {old} start at {before}"


class _Writer:
    """Writes a translated mapping as text.

    Args:
        raw: the user's mapping, with the keys that it inherits.
        marks: the places where its keys were written.
        translation: the mapping in uir's form.
        content: the mapping to write; it differs from `translation.raw` only in the paths of plugins.
        file: the user's file.
    """

    def __init__(
        self, raw: Mapping[str, Any], marks: Mapping[KeyPath, Mark], translation: Translation, content: Any, file: Path
    ) -> None:
        self.raw, self.marks, self.translation, self.content, self.file = raw, marks, translation, content, file
        self.reasons = translation.reasons | translation.refused
        self.sources: dict[Path, SourceText] = {}
        self.places: dict[KeyPath, list[KeyPath]] = {}
        for path, value in _walk(content):
            written = self._written(path, value)
            if written is not None:
                self.places.setdefault(written, []).append(path)
        self.written_keys: set[KeyPath] = set()
        self.lines: list[str] = []
        self.replaced = 0

    def text(self) -> str:
        """The whole file."""
        main = self._source(self.file)
        self._mapping((), self.content, 0)
        inherits = main.entries.get(("base",))
        if not self.replaced and inherits is None and same(self.raw, self.content):
            return self.file.read_text(encoding="utf-8")
        head = list(self._head(inherits))
        if inherits is not None:
            head += main.above(inherits)
        while self.lines and not self.lines[0]:
            del self.lines[0]
        rest = [line for source in [*self.sources.values()][::-1] for line in source.rest]  # this file's come last
        lines = [*head, "", *self.lines, *rest]
        return "\n".join(lines).rstrip("\n") + "\n"

    def _head(self, inherits: Entry | None) -> Iterator[str]:
        dialect = self.translation.dialect
        yield f"# Written by `uir convert` from {self.file.name}{f', in {dialect} dialect' if dialect else ''}."
        if inherits is not None:
            yield f"# was: base: {inherits.text} (its keys are written into this file)"
        for note in self.translation.notes:
            yield f"# - {note}"

    # --- where a key comes from ---

    def _written(self, path: KeyPath, value: Any) -> KeyPath | None:
        """The path of a new key in the user's file; None if the key was added."""
        written = self.translation.written(path)
        if written == path and not isinstance(value, Mapping) and not same(self._old(path), value):
            for new, old in self.translation.moved.items():
                elsewhere = (*new, *path[len(old) :])
                if (
                    elsewhere != path
                    and path[: len(old)] == old
                    and same(_at(self.content, elsewhere), self._old(path))
                ):
                    return None
        return written if self._old(written) is not _ABSENT else None

    def _old(self, path: KeyPath) -> Any:
        return _at(self.raw, path)

    def _entry(self, written: KeyPath | None) -> tuple[SourceText | None, Entry | None]:
        mark = self.marks.get(_as_text(written)) if written else None
        if mark is None or written is None:
            return None, None
        source = self._source(mark.file)
        return source, source.entries.get(_as_text(written))

    def _source(self, file: Path) -> SourceText:
        if file not in self.sources:
            self.sources[file] = source_text(file)
        return self.sources[file]

    # --- lines ---

    def _mapping(self, path: KeyPath, value: Mapping[str, Any], indent: int) -> None:
        """Write the entries of a mapping; the comment on a removed key comes before the next key that is kept."""
        written = self._written(path, value) if path else ()
        old = self._old(written) if written is not None else None
        keys = list(old) if isinstance(old, Mapping) else []
        for key, inner in value.items():
            source = self._written((*path, key), inner)
            if source is not None and source[:-1] == written:
                for earlier in keys[: keys.index(source[-1])]:
                    self._gone((*(written or ()), earlier), indent)
            self._entry_lines((*path, key), inner, source, indent)
        for key in keys:
            self._gone((*(written or ()), key), indent)

    def _entry_lines(self, path: KeyPath, value: Any, written: KeyPath | None, indent: int) -> None:
        source, entry = self._entry(written)
        if source is not None and entry is not None:
            self._above(written, source, entry, indent)
        comment = self._comment(path, value, written)
        if written is not None and source is not None and entry is not None and same(self._old(written), value):
            lines = chunk(source, entry, path[-1], value, indent)
            if lines is not None:
                self._add_chunk(lines, comment, entry, indent)
                self.written_keys |= {place for place, _ in _walk(self._old(written), written)}
                return
        tail = "".join(f"  {text}" for text in (comment, entry.tail if entry is not None else "") if text)
        start = f"{' ' * indent}{write_inline(path[-1])}:"
        if isinstance(value, Mapping) and value:
            self.lines.append(start + tail)
            self._mapping(path, value, indent + 2)
        elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
            self.lines += [f"{' ' * indent}{tail.strip()}"] if tail else []
            self.lines += block_lines(path[-1], value, indent)
        else:
            self.lines.append(f"{start} {leaf_text(entry, value)}{tail}")

    def _add_chunk(self, lines: list[str], comment: str, entry: Entry, indent: int) -> None:
        if comment and entry.style == "line":
            body = lines[0].removesuffix(entry.tail).rstrip() if entry.tail else lines[0].rstrip()
            lines = ["  ".join(part for part in (body, comment, entry.tail) if part)]
        elif comment:
            lines = [" " * indent + comment, *lines]
        self.lines += lines

    def _above(self, written: KeyPath | None, source: SourceText, entry: Entry, indent: int) -> None:
        """Write the comments above an entry of the user's file, once only."""
        if written is None or written in self.written_keys:
            return
        self.written_keys.add(written)
        self.lines += [_shifted(line, entry.column, indent) for line in source.above(entry)]

    def _comment(self, path: KeyPath, value: Any, written: KeyPath | None) -> str:
        """The comment on a key that has changed; empty if it has not."""
        if written is None:
            return "# added" if len(path) == 1 or self._written(path[:-1], {}) is not None else ""
        beside = written[:-1] == (self._written(path[:-1], {}) if len(path) > 1 else ())
        old, kept = self._old(written), same(self._old(written), value)
        if beside and written[-1] == path[-1] and (kept or (isinstance(value, Mapping) and isinstance(old, Mapping))):
            return ""
        self.replaced += 1
        name = str(written[-1]) if beside else _dotted(written)
        if path[: len(written)] == written and len(path) > len(written):
            return f"# was: in {_dotted(written)} itself"
        shown = "" if isinstance(old, Mapping) or (kept and not beside) else f": {write_inline(old)}"
        return f"# was: {name}{shown}{self._reason(written)}"

    def _reason(self, written: KeyPath) -> str:
        return f" ({self.reasons[written]})" if written in self.reasons else ""

    def _gone(self, written: KeyPath, indent: int, inside: bool = False) -> None:
        """Write a comment in the place of a key that the new file does not have."""
        if written in self.written_keys or written in self.places:
            return
        source, entry = self._entry(written)
        if source is not None and entry is not None and not inside:
            self._above(written, source, entry, indent)
        self.written_keys.add(written)
        value = self._old(written)
        below = [place for place, _ in _walk(value, written) if place in self.places]
        name = _dotted(written) if inside else str(written[-1])
        tail = f"  {entry.tail}" if entry is not None and entry.tail else ""
        if not below:
            self.replaced += written not in self.translation.refused
            self.lines.append(f"{' ' * indent}# was: {name}: {write_inline(value)}{self._reason(written)}{tail}")
            return
        now = dict.fromkeys(_dotted(new[:-1]) for place in below for new in self.places[place])
        self.lines.append(f"{' ' * indent}# was: {name}, whose keys are in {', '.join(now)}{tail}")
        for key in value:
            self._gone((*written, key), indent, inside=True)


_ABSENT = object()


def _at(value: Any, path: KeyPath) -> Any:
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return _ABSENT
        value = value[key]
    return value


def _walk(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every key below a mapping, by its path."""
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        yield (*path, key), inner
        yield from _walk(inner, (*path, key))


def _as_text(path: KeyPath) -> KeyPath:
    """A path in the form of a file's marks, in which every key is text."""
    return tuple(str(key) for key in path)


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))


def _shifted(line: str, column: int, indent: int) -> str:
    """A comment line, moved sideways together with its key."""
    text = line.lstrip()
    return " " * max(len(line) - len(text) + indent - column, 0) + text if text else ""
