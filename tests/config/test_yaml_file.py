from __future__ import annotations

import time
from pathlib import Path

import pytest

from uir.config.yaml_file import YamlError, parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("!!float 1e6", 1e6), ("1.0e-4", 1e-4), ("10", 10), ("~", None), ("'1e-4'", "1e-4"), ("1e", "1e")],
)
def test_numbers_are_read_as_people_mean_them(text: str, value: object) -> None:
    found = parse_yaml(text)
    assert found == value
    assert type(found) is type(value)


def test_every_value_knows_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("a: 1\nb:\n  c:\n    - x\n    - y\n")
    _, marks = read_yaml(file)
    assert {path: mark.line for path, mark in marks.items()} == {
        ("a",): 1, ("b",): 2, ("b", "c"): 3, ("b", "c", 0): 4, ("b", "c", 1): 5,
    }  # fmt: skip


def test_a_key_given_twice_is_an_error_with_both_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("a: 1\nb: 2\na: 3\n")
    with pytest.raises(YamlError, match=r"a\.yml:3: a is given twice \(first on line 1\)"):
        read_yaml(file)


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("a: 1\nb: [1, 2\nc: 3\n")
    with pytest.raises(YamlError, match=r"a\.yml:\d"):
        read_yaml(file)


def test_python_objects_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(YamlError, match="python/object"):
        read_yaml(file)


def test_an_alias_is_a_value_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("a: &v {x: 1}\nb: *v\n")
    value, _ = read_yaml(file)
    value["a"]["x"] = 2
    assert value["b"] == {"x": 1}


def test_an_impossible_date_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("day: 2024-99-99\n")
    with pytest.raises(YamlError, match=r"a\.yml"):
        read_yaml(file)


LAUGHS = "a0: &a0 [x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))

MERGED_LAUGHS = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 9)
)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (LAUGHS, 6, "stands for more than 200,000 values"),
        (MERGED_LAUGHS, 6, "stands for more"),
        ("name: x\ntrain: &a\n  b: *a\n", 2, "contains itself"),
        ("a: &a\n  <<: *a\n", 1, "contains itself"),
        ("a: " + "[" * 2000 + "]" * 2000, 1, "more than 60 deep"),
        ("".join(f"{' ' * i}a:\n" for i in range(300)), 60, "more than 60 deep"),
        ('a: 1\nname: "b\x07"\n', 2, r"holds the control character '\x07'"),
        ("a: 1\nb: 2024-13-01\n", 2, "month must be in 1..12"),
        ("a: 1\nb: " + "9" * 5000, 2, "not a value of its kind"),
        ("a: 1\n---\nb: 1\n", 2, "expected a single document"),
    ],
)
def test_a_file_made_to_hang_a_reader_is_refused_at_once(text: str, line: int, says: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(text)
    began = time.perf_counter()
    with pytest.raises(YamlError, match=rf"a\.yml:{line}: ") as refused:
        read_yaml(file)
    assert says in str(refused.value)
    assert time.perf_counter() - began < 2


def test_an_alias_within_bounds_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("a: &a {x: [1, 2]}\nb: *a\nc:\n  <<: *a\n  y: 3\n")
    assert read_yaml(file)[0] == {"a": {"x": [1, 2]}, "b": {"x": [1, 2]}, "c": {"x": [1, 2], "y": 3}}


@pytest.mark.parametrize("text", ["1:30", "-1:30", "1:30.5", "190:20:30"])
def test_minutes_and_seconds_are_text_and_no_number(text: str) -> None:
    assert parse_yaml(text) == text
