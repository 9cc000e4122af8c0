"""Reads YAML files: `1e-4` is a number, a repeated key is an error, and the line of every value is known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

KeyPath = tuple[str | int, ...]


class YamlError(ValueError):
    """A file that cannot be read as YAML; the message names the file and the line."""


@dataclass(frozen=True)
class Mark:
    """The place where a value was written."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else str(self.file)


MAX_DEPTH = 60
"""How deep lists and mappings may stand in each other."""
MAX_VALUES = 200_000
"""How many values a file may have; an alias (`*name`) counts as all that it stands for."""


class YamlLoader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it safely, with the numbers of YAML 1.2: `1e-4` is one, `1:30` is text.

    What would take all time and memory is refused: aliases that contain themselves, or that multiply to millions of
    values, and lists within lists without end.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next value, not too deep in others."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            problem = f"lists and mappings stand more than {MAX_DEPTH} deep in each other"
            raise ComposerError(None, None, problem, self.peek_event().start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        """The only value of the text."""
        node = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node; an impossible one, such as a date in month 13, is an error with its line."""
        try:
            return super().construct_object(node, deep=deep)
        except ValueError as error:
            raise ConstructorError(None, None, f"not a value of its kind ({error})", node.start_mark) from None


def _count(node: yaml.Node, counts: dict[yaml.Node, int]) -> int:
    """The number of values that a node stands for. `counts` holds the nodes that are counted, 0 for unfinished ones."""
    if node in counts:
        if counts[node] == 0:
            raise ComposerError(None, None, "the value contains itself (`&name` around `*name`)", node.start_mark)
        return counts[node]
    counts[node], total = 0, 1
    if isinstance(node, yaml.CollectionNode):
        for item in node.value:
            total += sum(_count(part, counts) for part in item) if isinstance(item, tuple) else _count(item, counts)
    if total > MAX_VALUES:
        raise ComposerError(None, None, f"stands for more than {MAX_VALUES:,d} values", node.start_mark)
    counts[node] = total
    return total


_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_INT = re.compile(r"^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)$")
FLOAT = re.compile(
    r"^[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
)
YamlLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# The second one also matches whole numbers; PyYAML tries resolvers in order, so these stay integers.
for _tag, _pattern, _letters in zip(_NUMBERS, (_INT, FLOAT), ("-+0123456789", "-+0123456789."), strict=True):
    YamlLoader.add_implicit_resolver(_tag, _pattern, list(_letters))


class Names(NamedTuple):
    """Where names stand in a file, as key paths in which `*` fits any key: as values, and as keys of a mapping.

    A name is the text that was written, even where YAML would read a number, a date or a truth value: `001`, `1e3`.
    """

    values: tuple[KeyPath, ...]
    keys: tuple[KeyPath, ...] = ()


OPTION_NAMES = Names(
    (
        ("name",),
        ("datasets", "*", "name"),
        ("train", "stages", "*", "name"),
        ("val", "suffix"),
        ("logger", "wandb", "*"),
    )
)


def mapping_at(content: Any, key: str) -> Mapping[str, Any]:
    """The mapping that stands under a key; an empty one where there is none, or something else in its place."""
    value = content.get(key) if isinstance(content, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def parse_yaml(text: str, path: KeyPath = ()) -> Any:
    """The value that a piece of YAML stands for; `path` is its place in an option file."""
    loader = YamlLoader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else loader.construct_document(_with_names(node, path, OPTION_NAMES))
    finally:
        loader.dispose()


class YamlDumper(yaml.SafeDumper):
    """Writes text in quotes where `YamlLoader` would read a number, and nothing as `~`."""

    def ignore_aliases(self, data: Any) -> bool:
        """A value that stands at two places is written twice."""
        return True


YamlDumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))
YamlDumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\n" in text else None),
)
YamlDumper.add_representer(type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "~"))


def dump_yaml(content: Any) -> str:
    """Plain data as the text of a file, from which `read_yaml` reads the same data."""
    return yaml.dump(content, Dumper=YamlDumper, sort_keys=False, allow_unicode=True)


def read_yaml(path: Path, names: Names = OPTION_NAMES) -> tuple[Any, dict[KeyPath, Mark]]:
    """Read a file, in which texts that are `names` are never read as numbers.

    Returns:
        The value, and the place of every key and list item in it by path.

    Raises:
        YamlError: the file is missing or not YAML, or a mapping has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise YamlError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise YamlError(f"{path}: not a text file in UTF-8") from None
    except ValueError as error:  # no name of a file, such as one with a null character
        raise YamlError(f"{str(path)!r}: {error}") from None
    try:
        loader = YamlLoader(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"{Mark(path, line)}: holds the control character {chr(error.character)!r}") from None
    try:
        node = loader.get_single_node()
        marks: dict[KeyPath, Mark] = {}
        if node is not None:
            _collect_marks(node, (), path, marks)
            node = _with_names(node, (), names)
        return _unshared(loader.construct_document(node) if node is not None else None), marks
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        context = f"{error.context} " if str(error.problem).startswith("but ") else ""
        raise YamlError(f"{Mark(path, line)}: {context}{error.problem}") from None
    finally:
        loader.dispose()


def _unshared(value: Any) -> Any:
    """A copy in which each alias (`*name`) is a separate value: a change at one place does not affect others."""
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _with_names(node: yaml.Node, path: KeyPath, names: Names) -> yaml.Node:
    """The node with every name below its key path turned into text; `~` stays nothing."""
    if isinstance(node, yaml.ScalarNode) and _fits(path, names.values):
        return _text(node)
    if not _fits(path, [pattern[: len(path)] for pattern in (*names.values, *names.keys)]):
        return node  # no name stands below it
    if isinstance(node, yaml.MappingNode):
        node.value = [_pair_with_names(key, value, path, names) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        node.value = [_with_names(item, (*path, index), names) for index, item in enumerate(node.value)]
    return node


def _pair_with_names(key: yaml.Node, value: yaml.Node, path: KeyPath, names: Names) -> tuple[yaml.Node, yaml.Node]:
    """A key of the mapping at `path`, and its value; what `<<` merges stands at the mapping's own place."""
    if key.tag == "tag:yaml.org,2002:merge":
        if isinstance(value, yaml.SequenceNode):
            value.value = [_with_names(item, path, names) for item in value.value]
            return key, value
        return key, _with_names(value, path, names)
    here = (*path, str(key.value))
    return _text(key) if _fits(here, names.keys) else key, _with_names(value, here, names)


def _fits(path: KeyPath, patterns: Iterable[KeyPath]) -> bool:
    return any(
        len(path) == len(pattern) and all(wanted in ("*", part) for part, wanted in zip(path, pattern, strict=True))
        for pattern in patterns
    )


def _text(node: yaml.Node) -> yaml.Node:
    """A node of its own (another place may share the old one) that is read as text."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        return node
    return yaml.ScalarNode("tag:yaml.org,2002:str", node.value, node.start_mark, node.end_mark, node.style)


def _collect_marks(node: yaml.Node, key_path: KeyPath, file: Path, marks: dict[KeyPath, Mark]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            inner = (*key_path, str(key_node.value))
            line = key_node.start_mark.line + 1
            if inner in marks and key_node.value != "<<":
                dotted = ".".join(map(str, inner))
                raise YamlError(f"{Mark(file, line)}: {dotted} is given twice (first on line {marks[inner].line})")
            marks[inner] = Mark(file, line)
            _collect_marks(value_node, inner, file, marks)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            marks[(*key_path, index)] = Mark(file, item.start_mark.line + 1)
            _collect_marks(item, (*key_path, index), file, marks)
