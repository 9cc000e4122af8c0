"""The tool of `make mutate`: which changes count, which tests are asked, and that the choice is stable."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutation.covering import statement_lines
from mutation.mutants import behaviour, choose

SOURCE = '''
def double(value: int | None, times: int = 2) -> int | None:
    """Twice."""
    if value is None and times > 1:
        return None
    return (
        value
        * times
    )
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "uir" / "core"
    folder.mkdir(parents=True)
    (folder / "doubling.py").write_text(SOURCE)
    return tmp_path


def test_a_changed_annotation_is_no_change() -> None:
    assert behaviour(SOURCE) == behaviour(SOURCE.replace("int | None", "int & None"))
    assert behaviour(SOURCE) != behaviour(SOURCE.replace("times > 1", "times >= 1"))
    assert behaviour("def broken(:") is None


def test_checks_of_the_program_itself_are_passed_over() -> None:
    assert behaviour("zip(a, b, strict=True)") == behaviour("zip(a, b, strict=False)") != behaviour("zip(b, a)")
    assert behaviour("if TYPE_CHECKING:\n    import a") == behaviour("if not TYPE_CHECKING:\n    import a")
    assert behaviour("if a:\n    import a") != behaviour("if not a:\n    import a")


@pytest.mark.parametrize(("line", "expected"), [(4, [4]), (5, [5]), (8, [6, 7, 8, 9]), (2, [2])])
def test_the_lines_of_a_statement(line: int, expected: list[int]) -> None:
    assert list(statement_lines(SOURCE, line, line)) == expected


def test_every_place_is_changed_once_and_no_annotation(tree: Path) -> None:
    pytest.importorskip("cosmic_ray", reason="cosmic-ray is not installed: pip install uir[mutation]")
    file = tree / "uir" / "core" / "doubling.py"
    mutants = choose(tree, [file], 100, seed=0)
    assert len(mutants) == len({(mutant.text, mutant.column) for mutant in mutants}) > 3
    assert all(behaviour(mutant.mutated(tree)) != behaviour(SOURCE) for mutant in mutants)


def test_the_choice_does_not_change_with_lines_above(tree: Path) -> None:
    pytest.importorskip("cosmic_ray", reason="cosmic-ray is not installed: pip install uir[mutation]")
    file = tree / "uir" / "core" / "doubling.py"
    before = [mutant.key() for mutant in choose(tree, [file], 3, seed=0)]
    file.write_text('"""A module."""\n' + SOURCE)
    assert [mutant.key() for mutant in choose(tree, [file], 3, seed=0)] == before
