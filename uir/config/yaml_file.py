"""Reads YAML files: `1e-4` is a number, a repeated key is an error, and the line of every value is known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

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


class YamlLoader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it safely, with the floats of YAML 1.2 (`1e-4`, `1E5`)."""


FLOAT = re.compile(
    r"^[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
)
YamlLoader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))
# The resolver above also matches plain whole numbers; PyYAML tries resolvers in order, so these stay integers.


def parse_yaml(text: str) -> Any:
    """The value of a YAML text."""
    return YamlLoader(text).get_single_data()


def read_yaml(path: Path) -> tuple[Any, dict[KeyPath, Mark]]:
    """Read a file.

    Returns:
        The value, and the place of every key and list item in it by path.

    Raises:
        YamlError: the file is missing or not YAML, or a mapping has a key twice.
    """
    try:
        loader = YamlLoader(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise YamlError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise YamlError(f"{path}: not a text file in UTF-8") from None
    try:
        node = loader.get_single_node()
        marks: dict[KeyPath, Mark] = {}
        if node is not None:
            _collect_marks(node, (), path, marks)
        return _unshared(loader.construct_document(node) if node is not None else None), marks
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise YamlError(f"{Mark(path, line)}: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date
        raise error if isinstance(error, YamlError) else YamlError(f"{path}: {error}") from None
    finally:
        loader.dispose()


def _unshared(value: Any) -> Any:
    """A copy in which each alias (`*name`) is a separate value: a change at one place does not affect others."""
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


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
