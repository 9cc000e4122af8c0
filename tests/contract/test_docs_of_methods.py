"""The page on training methods lists every example, and names only files that exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
PAGE = (PROJECT / "docs" / "methods.md").read_text()


def test_every_example_is_listed() -> None:
    listed = set(re.findall(r"^\| `(\w+\.py)`", PAGE, re.MULTILINE))
    assert listed == {file.with_suffix(".py").name for file in HERE.glob("*.yml")}


def test_every_file_on_the_way_of_a_batch_is_named_once() -> None:
    way = PAGE[PAGE.index("the way of one batch") :]
    files = re.findall(r"`(uir/[\w/*]+\.py)`", way)
    assert len(files) == len(set(files))
    assert all(list(PROJECT.glob(file)) for file in files)
