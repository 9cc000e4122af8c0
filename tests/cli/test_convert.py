"""`uir convert`, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from dcpt_dialect_options import fine_tuning

from uir.cli import main


def call(*arguments: object) -> int:
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    file = tmp_path / "options" / "old.yml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(fine_tuning(), sort_keys=False))
    return file


@pytest.mark.thorough
def test_a_file_is_written_and_passes_the_check(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = old.with_name("new.yml")
    assert call("convert", old, "-o", new) == 0
    assert capsys.readouterr().out.endswith("keys replaced\n")
    assert call("check", "-opt", new) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{new}: valid")


def test_help_has_an_example_and_states_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("convert", "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Example: uir convert" in said
    assert "A comment above a key or at the end of its line goes where the key goes." in said


@pytest.mark.thorough
def test_what_is_there_is_kept(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = old.with_name("new.yml")
    new.write_text("mine\n")
    before = old.read_text()
    assert call("convert", old, "-o", new) == 2
    assert "new.yml exists; --force replaces it" in capsys.readouterr().err
    assert new.read_text() == "mine\n"
    assert call("convert", old, "-o", new, "--force") == 0
    assert new.read_text() != "mine\n"
    for target in (old, old.parent / "." / "old.yml"):
        assert call("convert", old, "-o", target, "--force") == 2
        assert "is the file to convert; -o takes another name" in capsys.readouterr().err
    assert call("convert", old, "-o", old.parent, "--force") == 2
    assert "is a folder" in capsys.readouterr().err
    assert old.read_text() == before


def test_a_base_is_not_written_over(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child = old.with_name("child.yml")
    child.write_text("base: old.yml\nname: child\n")
    assert call("convert", child, "-o", old, "--force") == 2
    assert "old.yml: is read for the conversion; give another name" in capsys.readouterr().err


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [", "old.yml:1: "), ("- a\n", "an option file is a mapping"), ("classify: 3\n", "classify: expected")],
)  # fmt: skip
def test_a_file_that_cannot_be_read_writes_nothing(
    old: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old.write_text(text)
    assert call("convert", old, "-o", old.with_name("new.yml")) == 2
    assert said in capsys.readouterr().err
    assert [file.name for file in old.parent.iterdir()] == ["old.yml"]


def test_keys_without_an_equivalent_are_listed(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old.write_text(old.read_text() + "tile: true\n")
    new = old.with_name("new.yml")
    assert call("convert", old, "-o", new) == 0
    said = capsys.readouterr()
    assert said.out.endswith(" keys replaced, 1 without an equivalent\n")
    line = len(old.read_text().splitlines())
    assert f"without an equivalent: {old}:{line}: tile: uir tests whole images" in said.err
    assert "# was: tile: true (uir tests whole images" in new.read_text()


@pytest.mark.parametrize(("name", "said"), [("x.toml", "TOML files (neosr)"), ("x.json", "JSON files (KAIR)")])
def test_other_forms_than_yaml_are_refused(old: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = old.rename(old.with_name(name))
    assert call("convert", file, "-o", file.with_name("new.yml")) == 2
    assert said in capsys.readouterr().err


def test_a_result_that_does_not_load_is_written_and_told(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old.write_text(old.read_text() + "mystery: 3\n")
    new = old.with_name("new.yml")
    assert call("convert", old, "-o", new, "--json") == 2
    found = json.loads(capsys.readouterr().out)
    line = new.read_text().splitlines().index("mystery: 3") + 1
    assert found["problems"] == [f"{new}:{line}: mystery is not an option"]
    assert found["output"] == str(new)
