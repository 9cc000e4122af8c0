"""The help of every command: summaries that are whole, examples that can be pasted, one spelling of each option."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer.main

from uir.cli import app, main

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = {"experiments", "results", "published"}  # folders of files that a user makes first


def commands(group: Any, names: tuple[str, ...] = ("uir",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group below a group, itself included, with the words that call it."""
    yield names, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*names, name))


TREE = dict(commands(typer.main.get_command(app)))
GROUPS = [names for names, command in TREE.items() if hasattr(command, "commands")]
LEAVES = [names for names in TREE if names not in GROUPS]


def help_of(names: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main([*names[1:], "--help"])
    assert not stop.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("names", GROUPS, ids=" ".join)
def test_no_summary_is_cut(names: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    rows = help_of(names, capsys).split("Commands:\n")[1].splitlines()
    assert len(rows) == len(TREE[names].commands)
    assert [row for row in rows if not row.endswith(".") or row.endswith("...")] == []


@pytest.mark.parametrize("names", LEAVES, ids=" ".join)
def test_the_example_of_a_command_can_be_pasted(names: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = [line for line in help_of(names, capsys).splitlines() if line.startswith("  Example: ")]
    words = shlex.split(line.removeprefix("  Example: "))
    assert tuple(words[: len(names)]) == names
    TREE[names].make_context(" ".join(names), words[len(names) :])  # a wrong option or a missing argument is an error
    inputs = [word for before, word in pairwise(words) if "/" in word and before != "-o"]
    assert [word for word in inputs if not (ROOT / word).exists() and word.split("/")[0] not in WRITTEN] == []


def test_every_option_is_spelt_with_underscores() -> None:
    options = {option for command in TREE.values() for parameter in command.params for option in parameter.opts}
    assert {"--param_key", "--code_from", "--max_pixels"} <= options
    assert [option for option in options if "-" in option.lstrip("-") and "completion" not in option] == []


@pytest.mark.parametrize("option", ["--force-yml", "--force_yml"])
def test_an_option_may_be_typed_with_hyphens(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", "-opt", str(ROOT / "options/train/uir_small_demo.yml"), option, "scal=2", "nam=x", "--json"])
    assert "scal is not an option" in (printed := capsys.readouterr().out)
    assert "nam is not an option" in printed


def test_the_shell_completes_options() -> None:
    code = "from uir.cli import main; main()"
    words = {"_UIR_COMPLETE": "complete_bash", "COMP_WORDS": "uir restore --code", "COMP_CWORD": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["--code_from"]
