"""The project's own text uses everyday words: no page, docstring, comment or message has one of a few rare words."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RARE_WORDS = (
    "mend", "mends", "mended", "lest", "anew", "midst", "deaf", "ere", "thus far", "hence", "whereof", "whence",
    "of its own accord", "faster road", "befalls?", "likewise", "in vain", "told before",
)  # fmt: skip
PATTERN = re.compile(rf"\b({'|'.join(RARE_WORDS)})\b", re.IGNORECASE)
PAGES = [ROOT / "README.md", ROOT / "Makefile", ROOT / "demo.py", *sorted(ROOT.glob("docs/*.md"))]
PAGES += [ROOT / folder / "README.md" for folder in ("datasets", "experiments")] + sorted(ROOT.glob("options/*/*.yml"))
MODULES = sorted((ROOT / "uir").rglob("*.py"))


def text_of_module(source: str) -> Iterator[tuple[int, str]]:
    """Line number and text of every line of a string, an f-string, a docstring or a comment."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for offset, line in enumerate(node.value.splitlines()):
                yield node.lineno + offset, line
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def rare_words_in(path: Path, root: Path = ROOT) -> list[str]:
    """`file:line: word` for each rare word of a file; of Python only strings and comments count."""
    source = path.read_text(encoding="utf-8")
    lines = text_of_module(source) if path.suffix == ".py" else enumerate(source.splitlines(), 1)
    return [
        f"{path.relative_to(root)}:{number}: {match[0]}" for number, line in lines for match in PATTERN.finditer(line)
    ]


@pytest.mark.thorough
def test_pages_and_modules_use_everyday_words() -> None:
    assert len(MODULES) > 100
    rare_words = [place for path in (*PAGES, *MODULES) for place in rare_words_in(path)]
    assert not rare_words, "write these in everyday words:\n" + "\n".join(rare_words)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("page.md", "Fine.\nTry anew.\n", ["page.md:2: anew"]),
        ("module.py", '"""One.\n\nMend it, lest it break.\n"""\n', ["module.py:3: Mend", "module.py:3: lest"]),
        ("module.py", "x = f'thus far {1}'  # hence\n", ["module.py:1: thus far", "module.py:1: hence"]),
        ("module.py", "anew = 'amended, here, recommend'\n", []),
    ],
)
def test_a_rare_word_is_named_with_its_place(tmp_path: Path, name: str, text: str, expected: list[str]) -> None:
    (tmp_path / name).write_text(text)
    assert rare_words_in(tmp_path / name, tmp_path) == expected
