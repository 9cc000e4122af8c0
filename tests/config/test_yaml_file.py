from __future__ import annotations

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
