"""The long checks in short: each provokes a few times; and a broken promise is reported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from soak.children import kill_myself, run_child
from soak.damaged_images import damaged, whole_files
from soak.promises import Finding, project
from soak.run import BEGIN, CHECKS, END, PAGE, table, with_table

from uir.config.options import load_options
from uir.core.images import decode_image

LONG = ("same_seed", "steady_use")


@pytest.mark.thorough
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LONG else []) for n in CHECKS])
def test_the_promise_is_kept(name: str, tmp_path: Path) -> None:
    finding = CHECKS[name].run(tmp_path, CHECKS[name].short)
    assert finding.holds, "\n".join(finding.failures)
    assert finding.figure


def test_a_broken_promise_is_in_the_table() -> None:
    broken = Finding("It holds.", "trying", "1 of 2", ["it did not"])
    assert not broken.holds
    assert "**no, 1 times**" in table({"trial": broken})
    assert "| yes |" in table({"trial": Finding("It holds.", "trying", "2 of 2")})


def test_the_page_has_a_row_for_every_check() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(BEGIN) == page.count(END) == 1
    rows = re.findall(r"`(\w+)`, \d+ \|$", page.partition(BEGIN)[2].partition(END)[0], re.MULTILINE)
    assert rows == list(CHECKS)
    assert with_table(f"a {BEGIN} old {END} b", "new") == f"a {BEGIN}\nnew\n{END} b"


def test_the_files_that_are_damaged_are_sound_before() -> None:
    for suffix, content in whole_files():
        assert decode_image(content, suffix).shape[:2] == (28, 32)


def test_the_same_seed_damages_the_same_bytes() -> None:
    one, other, another = (list(damaged(20, seed)) for seed in (1, 1, 2))
    assert one == other != another


def test_the_project_of_the_checks_is_valid(tmp_path: Path) -> None:
    assert load_options(project(tmp_path, {"train.total_iter": 3}, "named")).options.name == "named"


@pytest.mark.thorough
def test_a_killed_child_is_told_from_one_that_ends() -> None:
    assert run_child(kill_myself).code == -9
    assert run_child(len, "four").value == 4
    assert run_child(int, "x").code == 1
