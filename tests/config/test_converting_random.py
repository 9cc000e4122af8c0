"""Random files and random translations: what is written reads as it should, and no comment is lost."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from uir.config import converting
from uir.config.converting import convert
from uir.config.dialects import Translation
from uir.config.options import read_merged
from uir.config.yaml_file import KeyPath, parse_yaml
from uir.config.yaml_text import same, write_inline

KEYS = ("a", "b", "c", "conv5_4", "x y", "yes", "1e-4", "k:1")
VALUES: tuple[Any, ...] = (
    1, 1.5, 1e-4, "text", "1e-4", "# no", "a: b", None, True, "", "two\nlines\n", "it's", "~", [], {}, [1, 2],
    [[1, "a"], {"q": None}], "*x", "&y", " before", "behind ", "!t",
)  # fmt: skip


def tree(draw: random.Random, depth: int) -> dict[str, Any]:
    """A random mapping."""
    keys = draw.sample(KEYS, draw.randint(1, 4))
    return {key: tree(draw, depth - 1) if depth and draw.random() < 0.5 else draw.choice(VALUES) for key in keys}


def lines_of(draw: random.Random, value: Mapping[str, Any], indent: int) -> Iterator[str]:
    """A mapping as somebody might write it: comments, blank lines, lists and texts in several forms."""
    step, space = draw.choice([2, 3, 4]), " " * indent
    for key, inner in value.items():
        if draw.random() < 0.4:
            yield draw.choice(
                ["", f"# c{draw.random()}", f"{space}# c{draw.random()}", f"{space}   # c{draw.random()}"]
            )
        start, tail = f"{space}{write_inline(key)}:", draw.choice(["", "  # tail", " # t: x"])
        if isinstance(inner, dict) and inner and draw.random() < 0.7:
            yield start + draw.choice(["", "", f" &name{draw.getrandbits(60)}"]) + tail
            yield from lines_of(draw, inner, indent + step)
        elif inner == "two\nlines\n" and draw.random() < 0.7:
            yield from (f"{start} {draw.choice(['|', '|+'])}", f"{space}  two", f"{space}  lines")
        elif isinstance(inner, list) and inner and draw.random() < 0.5:
            yield start + tail
            yield from (f"{space}- {write_inline(item)}" for item in inner)
        else:
            yield f"{start} {write_inline(inner)}{tail}"


def paths_of(value: Mapping[str, Any], path: KeyPath = ()) -> Iterator[KeyPath]:
    """The path of every key."""
    for key, inner in value.items():
        yield (*path, key)
        if isinstance(inner, dict):
            yield from paths_of(inner, (*path, key))


def translation(draw: random.Random, raw: dict[str, Any], marks: Any, acts: list[str]) -> Translation:
    """Up to three random changes."""
    found = Translation(copy.deepcopy(raw), marks)
    for number in range(draw.randint(0, 3)):
        path = draw.choice(list(paths_of(found.raw)))
        section: Any = found.raw
        for key in path[:-1]:
            section = section[key]
        act, written = draw.choice(acts), found.written(path)
        if any(new[: len(path)] == path for new in found.moved):
            continue
        if act == "rename":
            items = list(section.items())
            section.clear()
            section.update({f"new{number}" if key == path[-1] else key: inner for key, inner in items})
            found.moved[(*path[:-1], f"new{number}")] = written
        elif act == "wrap":
            section[path[-1]] = {"type": "Wrapper", "inner": section[path[-1]]}
            found.moved[(*path, "inner")] = written
        elif act == "change":
            section[path[-1]] = draw.choice(VALUES)
        elif len(section) > 1:
            del section[path[-1]]
    return found


@pytest.mark.thorough
@pytest.mark.parametrize("acts", [["rename", "wrap"], ["rename", "wrap", "change", "drop"]])
def test_random_files_read_as_they_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acts: list[str]) -> None:
    monkeypatch.setattr(converting, "load_options", lambda *_, **__: None)  # they are no option files
    draw, old, new = random.Random(0), tmp_path / "old.yml", tmp_path / "new.yml"
    for _ in range(300):
        text = "\n".join(lines_of(draw, tree(draw, 3), 0)) + draw.choice(["", "\n", "\n# cend\n"])
        old.write_text(text)
        raw, marks = read_merged(old)
        found = translation(draw, raw, marks, acts)
        monkeypatch.setattr(converting, "translate", lambda *_, found=found, **__: found)
        convert(old, new)
        written = new.read_text()
        assert same(parse_yaml(written), found.raw), text
        if same(raw, found.raw):
            assert written == text
        if "drop" not in acts:
            assert not [comment for comment in re.findall(r"# c\S+", text) if comment not in written], text
