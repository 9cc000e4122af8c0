"""The tests are sorted into tiers by marks; the quick tier looks into every folder."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FOLDERS = sorted({file.parent.relative_to(TESTS).as_posix() for file in TESTS.rglob("test_*.py")})
LEFT_OUT = ("pytest.mark.thorough", "pytest.mark.slow")


def is_left_out(node: ast.AST) -> bool:
    """Whether a decorator, or the value of `pytestmark`, is or contains a mark that `make quick` leaves out."""
    return any(isinstance(part, ast.Attribute) and ast.unparse(part) in LEFT_OUT for part in ast.walk(node))


def quick_tests(file: Path) -> list[str]:
    """The tests of a file that no mark, of their own or of the file, leaves out."""
    statements = ast.parse(file.read_text(encoding="utf-8")).body
    of_the_file = [node for node in statements if ast.unparse(node).startswith("pytestmark =")]
    if any(is_left_out(node) for node in of_the_file):
        return []
    functions = [node for node in statements if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return [node.name for node in functions if not any(is_left_out(mark) for mark in node.decorator_list)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_has_a_quick_test(folder: str) -> None:
    assert any(quick_tests(file) for file in (TESTS / folder).glob("test_*.py"))


def test_a_mark_leaves_a_test_or_a_file_out(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    body = "def test_one(): ...\n@pytest.mark.thorough\n@pytest.mark.parametrize('x', [1])\ndef test_two(x): ...\n"
    file.write_text(body)
    assert quick_tests(file) == ["test_one"]
    file.write_text("pytestmark = [pytest.mark.slow]\n" + body)
    assert quick_tests(file) == []
