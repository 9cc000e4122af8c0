"""Python annotations as JSON Schema."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest
from jsonschema import Draft202012Validator
from torch import Tensor

from uir.config.json_schema.annotations import NOT_JSON, Json, allows_null, any_of, json_default, json_type
from uir.config.spec import node_of, resolved
from uir.registry.components import DegradationSpec


class Colour(Enum):
    RED = "red"


def schema_of(annotation: Any) -> Json:
    """The schema of an annotation, with a stand-in for the definitions of components."""
    return json_type(node_of(annotation), lambda part: {"type": "object", "required": ["type"]})


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (int, [3], ["3", 1.5, True, None]),
        (float, [3, 0.5], ["3", True]),
        (bool, [True], [1, "yes"]),
        (str, ["a"], [1]),
        (Path, ["a/b"], [1]),
        (Literal["a", 2], ["a", 2], ["b"]),
        (Colour, ["red"], ["blue"]),
        (Optional[Literal["a"]], ["a", None], ["b"]),  # noqa: UP045
        (Union[int, str], [1, "a"], [None, []]),  # noqa: UP007
        (int | list[int] | None, [1, [1, 2], None], ["1", ["a"]]),
        (Sequence[int], [[], [1]], [1, "ab", [0.5]]),
        (Iterable[float], [[0.5]], [1, ["a"]]),
        (list[list[int]], [[[1]]], [[1]]),
        (tuple[float, float], [[1, 2]], [[1], [1, 2, 3], ["a", 1]]),
        (tuple[int, ...], [[], [1, 2]], [["a"]]),
        (dict[str, float], [{"a": 1}], [{"a": "b"}, []]),
        (Mapping[str, Any], [{"a": []}], [1]),
        (float | Tensor, [0.5], ["a"]),
        (tuple[float | Tensor, float | Tensor], [[0.9, 0.999]], [["a", 1]]),
        (DegradationSpec, [{"type": "Haze"}], [{}, "Haze"]),
        (list[DegradationSpec], [[{"type": "Haze"}], []], [{"type": "Haze"}, [{}]]),
        (dict[str, DegradationSpec] | None, [{"a": {"type": "Haze"}}, None], [{"a": 1}]),
        (Annotated[list[DegradationSpec], "steps"], [[{"type": "Haze"}]], [[{}]]),
    ],
)
def test_values_are_accepted_and_refused_as_annotated(annotation: Any, good: list[Any], bad: list[Any]) -> None:
    validator = Draft202012Validator(schema_of(annotation))
    assert [value for value in good if not validator.is_valid(value)] == []
    assert [value for value in bad if validator.is_valid(value)] == []


@pytest.mark.parametrize(
    "annotation", [Any, object, Tensor, Callable[[int], int], list[Callable[[int], int]], int | Any, "not a type"]
)
def test_what_json_cannot_tell_is_left_open(annotation: Any) -> None:
    assert schema_of(annotation) == {}


def test_unions_of_plain_types_are_one_list_of_types() -> None:
    assert schema_of(int | None) == {"type": ["integer", "null"]}
    assert schema_of(str | list[int]) == {"type": ["string", "array"], "items": {"type": "integer"}}
    assert any_of([{"type": "null"}, {"type": "null"}]) == {"type": "null"}
    assert any_of([{"type": "null"}, {}]) == {}


def test_null_is_seen_wherever_it_is_allowed() -> None:
    allowed = [int | None, Literal["a"] | None, Literal["a", None], list[DegradationSpec] | None, Any]
    assert all(allows_null(schema_of(annotation)) for annotation in allowed)
    assert not any(allows_null(schema_of(annotation)) for annotation in [int, Literal["a"], DegradationSpec])


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, 0.5), ((1, 2), [1, 2]), (Path("a/b"), "a/b"), (None, None), ({"a": (1,)}, {"a": [1]}), (True, True)],
)
def test_defaults_are_written_as_a_file_would(value: Any, expected: Any) -> None:
    assert json_default(value) == expected


@pytest.mark.parametrize("value", [math.inf, math.nan, [math.inf], {"a": object()}, {1: 2}, Colour.RED, print])
def test_defaults_that_no_file_can_hold_are_left_out(value: Any) -> None:
    assert json_default(value) is NOT_JSON


def test_an_annotation_left_as_text_is_looked_up_in_its_module() -> None:
    assert resolved("int | None", {}) == int | None
    assert resolved("Tensor", {"Tensor": Tensor}) is Tensor
    assert resolved("Absent | int", {}) is Any
    assert resolved("not python", {}) is Any
    assert resolved(int, {}) is int
