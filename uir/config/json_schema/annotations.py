"""Turns nodes of the tree, annotations and defaults into JSON Schema (draft 2020-12)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticOmit, core_schema

from uir.config.spec import Either, Keys, ListOf, MappingOf, Node, Place, validator_of

Json = dict[str, Any]
Part = Callable[[Keys | Place], Json]
NOT_JSON = object()
"""The result of `json_default` for a value that a file cannot contain."""


class _Generator(GenerateJsonSchema):
    """Leaves out types that a file cannot contain, such as the tensor in `float | Tensor`, instead of failing."""

    def handle_invalid_for_json_schema(self, schema: core_schema.CoreSchema, error_info: str) -> JsonSchemaValue:
        raise PydanticOmit


def json_type(node: Node, part: Part) -> Json:
    """The JSON Schema of the values that a node allows; empty if it allows anything or no value of a file.

    Args:
        node: a node of the tree of option files.
        part: gives the schema of a mapping with known keys or of a place for components, at any depth.
    """
    if isinstance(node, Keys | Place):
        return part(node)
    if isinstance(node, Either):
        return any_of(json_type(arm, part) for arm in node.arms)
    if isinstance(node, ListOf):
        return {"type": "array", "items": json_type(node.item, part)}
    if isinstance(node, MappingOf):
        return {"type": "object", "additionalProperties": json_type(node.item, part)}
    return _leaf(node.annotation)


def any_of(arms: Iterable[Json]) -> Json:
    """A schema that accepts a value if one of `arms` does; plain types become one list of types."""
    distinct: list[Json] = []
    for arm in arms:
        distinct += [inner for inner in arm.get("anyOf", [arm]) if inner not in distinct]
    if not distinct or {} in distinct:
        return {}
    if len(distinct) == 1:
        return distinct[0]
    rich = [arm for arm in distinct if set(arm) != {"type"}]
    if len(rich) > 1 or any(not isinstance(arm.get("type"), str) for arm in distinct):
        return {"anyOf": distinct}
    if rich and ("enum" in rich[0] or "const" in rich[0]):
        values = rich[0].get("enum", [rich[0].get("const")])
        return {"enum": [*values, None]} if distinct == [rich[0], {"type": "null"}] else {"anyOf": distinct}
    merged: Json = {"type": [arm["type"] for arm in distinct]}
    return merged | {key: value for arm in rich for key, value in arm.items() if key != "type"}


def allows_null(schema: Json) -> bool:
    """Whether a schema made here certainly accepts null."""
    if not schema:
        return True
    kinds = schema.get("type", ())
    return (
        "null" in ([kinds] if isinstance(kinds, str) else kinds)
        or None in schema.get("enum", ())
        or any(allows_null(arm) for arm in schema.get("anyOf", ()))
    )


def json_default(value: Any) -> Any:
    """A default in the form that a file has, or `NOT_JSON`."""
    if isinstance(value, Path):
        return str(value)
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else NOT_JSON
    if type(value) in (list, tuple):
        items = [json_default(item) for item in value]
        return NOT_JSON if any(item is NOT_JSON for item in items) else items
    if type(value) is dict and all(isinstance(key, str) for key in value):
        defaults = {key: json_default(item) for key, item in value.items()}
        return NOT_JSON if any(item is NOT_JSON for item in defaults.values()) else defaults
    return NOT_JSON


def _leaf(annotation: Any) -> Json:
    validator = validator_of(annotation)
    if validator is None:
        return {}
    try:
        made = validator.json_schema(schema_generator=_Generator)
    except Exception:  # pydantic has many ways to say that there is no JSON for an annotation
        return {}
    return {} if "$defs" in made else _tidy(made)


def _tidy(schema: Json) -> Json:
    """A shorter schema with the same meaning: no titles, no `additionalProperties: true`, one list for plain types."""
    made = {key: value for key, value in schema.items() if key not in ("title", "format")}
    if made.get("additionalProperties") in (True, {}):
        del made["additionalProperties"]
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = _tidy(made[key])
    if "prefixItems" in made:
        made["prefixItems"] = [_tidy(item) for item in made["prefixItems"]]
    if made.get("items") == {}:
        del made["items"]
    return any_of(map(_tidy, made["anyOf"])) if "anyOf" in made else made
