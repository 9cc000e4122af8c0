"""The tree of what an option file may hold, made from annotations."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field

from uir.config.schema import Component, OptimOptions, Section, TrainOptions
from uir.config.spec import (
    MISSING,
    PLACES,
    Either,
    Keys,
    Leaf,
    ListOf,
    MappingOf,
    Node,
    arm_for,
    class_keys,
    node_of,
    parts_of,
    section_keys,
)  # fmt: skip
from uir.registry.components import DatasetSpec, LossSpec, Nested

NULL = Leaf(type(None))
LOSS, TASK = PLACES["losses"], PLACES["tasks"]


class Inner(Section):
    """A section within a section."""

    depth: int = Field(2, ge=1, description="Of the water.")


class Outer(TrainOptions):
    """A section of a plugin."""

    inner: Inner | None = None
    edge_opt: Component | None = None
    weights: list[float]


@pytest.mark.parametrize(
    ("annotation", "node"),
    [
        (DatasetSpec, TASK),
        (list[LossSpec], ListOf(LOSS)),
        (dict[str, DatasetSpec], MappingOf(TASK)),
        (LossSpec | None, Either((LOSS, NULL))),
        (list[LossSpec] | None, Either((ListOf(LOSS), NULL))),
        (dict[str, list[LossSpec]], MappingOf(ListOf(LOSS))),
        (Annotated[dict[str, Any], Nested("degradations")], PLACES["degradations"]),
        (Annotated[int, "metres"], Leaf(Annotated[int, "metres"])),
        (list[int], Leaf(list[int])),
        (OptimOptions, PLACES["optimizers"]),
        (Inner, section_keys(Inner)),
    ],
)
def test_annotations_say_what_stands_under_a_key(annotation: Any, node: Node) -> None:
    assert node_of(annotation) == node


def test_a_section_has_its_keys_with_default_and_description() -> None:
    depth = section_keys(Inner).keys["depth"]
    assert (depth.default, depth.is_required, depth.text) == (2, False, "Of the water.")
    keys = section_keys(Outer).keys
    assert set(keys) == {"inner", "edge_opt", "weights", *section_keys(TrainOptions).keys}
    assert keys["weights"].is_required
    assert keys["weights"].default is MISSING
    assert keys["inner"].text == "A section within a section."


def test_the_name_of_a_key_tells_what_a_plain_component_is() -> None:
    assert parts_of(section_keys(Outer).keys["edge_opt"].node) == [LOSS]


def test_a_class_has_the_arguments_of_its_constructor_without_the_hidden_ones() -> None:
    def metric(img: Any, img2: Any, crop_border: int, window: str = "gaussian") -> float: ...

    keys = class_keys(PLACES["metrics"], metric).keys
    assert [(name, key.is_required) for name, key in keys.items()] == [("crop_border", True), ("window", False)]


def test_a_plugin_is_open_until_it_declares_its_keys() -> None:
    class Undeclared:
        def __init__(self, opt: Any) -> None: ...

    class Declared(Undeclared):
        option_keys = ("folder",)

    place = PLACES["datasets"]
    assert class_keys(place, Undeclared, "plugin").is_open
    assert not class_keys(place, Undeclared, "uir").is_open
    declared = class_keys(place, Declared, "plugin")
    assert (list(declared.keys), declared.is_open) == (["folder"], False)


@pytest.mark.parametrize(("value", "kind"), [({"depth": 1}, Keys), ([1], Leaf), (0.5, Leaf)])
def test_of_several_forms_the_one_that_fits_is_taken(value: Any, kind: type) -> None:
    node = node_of(float | Inner)
    assert isinstance(node, Either)
    assert isinstance(arm_for(node, value), kind)
