"""Option files of another toolbox's dialect, written anew in uir's own keys, with the user's comments.

What is written comes from `translate`, which also reads such a file where it is used directly. This module only lays
the result out: keys in their order, the lines of the user's file where nothing changed, and a comment on every key that
was replaced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uir.config.dialects import DialectError, Translation, translate
from uir.config.options import OptionError, find_root, load_options, load_plugins_of, read_merged
from uir.config.problems import Problem
from uir.config.yaml_file import KeyPath, Mark, parse_yaml, read_yaml
from uir.config.yaml_text import Entry, SourceText, block_lines, chunk, leaf_text, same, source_text, write_inline
from uir.core.files import replacing
from uir.registry.plugins import is_file_plugin, load_plugin

# What other toolboxes write instead of YAML. Their sections are others too.
_OTHER_FORMS = {
    ".toml": "TOML as neosr's is not read, an option file is YAML",
    ".json": "JSON as KAIR's is not read, an option file is YAML",
}


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        text: the new file.
        replaced: how many keys of the old file carry a comment that says what became of them.
        refused: the keys that uir has nothing for, each with its place and a sentence; they are comments there.
        problems: why the new file cannot be used as it is; empty where it can.
        notes: what else the user should know.
    """

    text: str
    replaced: int
    refused: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def convert(old: Path, new: Path, plugins: tuple[str, ...] = (), root: Path | None = None) -> Conversion:
    """Write an option file anew in uir's keys; a file that it inherits from (`base`) is written into it.

    Args:
        old: the file to read.
        new: the file to write; what stands there is replaced.
        plugins: plugins beside those the file names.
        root: where relative paths start.

    Raises:
        OptionError: `old` cannot be read, or a key of its dialect cannot be understood.
        ValueError: `new` is one of the files that are read.
    """
    if old.suffix.lower() in _OTHER_FORMS:
        raise ValueError(f"{old}: {_OTHER_FORMS[old.suffix.lower()]}; write the file anew after one in options/train")
    raw, marks = read_merged(old)
    if new.resolve() in _read_files(old):
        raise ValueError(f"{new}: is read for the conversion; give another name to write to")
    for spec in plugins:
        load_plugin(spec, named_in="--plugin")
    load_plugins_of(deepcopy(raw), marks, old)
    try:
        translation = translate(raw, marks, quiet=True)
    except DialectError as error:
        raise OptionError([Problem.at(error.path, marks, str(error))]) from None
    content = deepcopy(translation.raw)
    _place_plugins(content, marks, old, new)
    writer = _Writer(raw, marks, translation, content, old)
    text = writer.text()
    if not same(parse_yaml(text), content):
        raise AssertionError(f"what was written for {old} does not read as it should")
    is_train = "train" in content
    with replacing(new) as temporary:
        temporary.write_text(text, encoding="utf-8")
        problems = _problems(temporary, new, is_train, root)
    refused = [str(Problem.at(path, marks, f": {reason}")) for path, reason in translation.refused.items()]
    return Conversion(text, writer.replaced, tuple(refused), problems, tuple(_moved_root(old, new, root)))


def _read_files(file: Path) -> set[Path]:
    """An option file and those it inherits from."""
    files: set[Path] = set()
    while file.resolve() not in files:
        files.add(file.resolve())
        content, _ = read_yaml(file)
        if content.get("base") is not None:
            file = file.parent / Path(content["base"]).expanduser()
    return files


def _place_plugins(content: dict[str, Any], marks: Mapping[KeyPath, Mark], old: Path, new: Path) -> None:
    """Plugins that are files are named from where the new file lies."""
    plugins = content.get("plugins")
    for index, spec in enumerate(plugins if isinstance(plugins, list) else []):
        mark = marks.get(("plugins", index))
        folder = (mark.file if mark is not None else old).resolve().parent
        if isinstance(spec, str) and is_file_plugin(spec) and folder != new.resolve().parent:
            place = os.path.relpath(folder / Path(spec).expanduser(), new.resolve().parent)
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
        yield f"{new}: its relative paths start at {after}, those of {old} at {before}"


class _Writer:
    """Lays out a translated mapping as text.

    Args:
        raw: the user's mapping, with what it inherits.
        marks: where its keys were written.
        translation: what it is in uir's form.
        content: the mapping to write, which is that form but for the names of plugins.
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
        self.told: set[KeyPath] = set()
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
        rest = [line for source in [*self.sources.values()][::-1] for line in source.rest]  # this file's own at the end
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
        """The path of a new key in the user's file; None for one that was added."""
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
        """The entries of a mapping; a key that is gone has its comment before the user's next one that is left."""
        written = self._written(path, value) if path else ()
        held = self._old(written) if written is not None else None
        keys = list(held) if isinstance(held, Mapping) else []
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
                self.told |= {place for place, _ in _walk(self._old(written), written)}
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
        """The comments above an entry of the user's, once."""
        if written is None or written in self.told:
            return
        self.told.add(written)
        self.lines += [_shifted(line, entry.column, indent) for line in source.above(entry)]

    def _comment(self, path: KeyPath, value: Any, written: KeyPath | None) -> str:
        """What is said of a key that is not as it was."""
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
        """A comment in the place of a key that the new file does not have."""
        if written in self.told or written in self.places:
            return
        source, entry = self._entry(written)
        if source is not None and entry is not None and not inside:
            self._above(written, source, entry, indent)
        self.told.add(written)
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
    """A path as the marks of a file have it, where a key is text."""
    return tuple(str(key) for key in path)


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))


def _shifted(line: str, column: int, indent: int) -> str:
    """A line of comment, moved as its key was."""
    text = line.lstrip()
    return " " * max(len(line) - len(text) + indent - column, 0) + text if text else ""
