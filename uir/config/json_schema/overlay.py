"""Schemas for files with `base`: in such a file any key may be missing, and null deletes a key.

Every definition has a second, less strict form for them, whose name ends in `.overlay`.
"""

from __future__ import annotations

from typing import Any

from uir.config.json_schema.annotations import Json, allows_null, any_of

DEFS = "#/$defs/"
NULL: Json = {"type": "null"}


def overlay_of(name: str, definition: Json) -> Json:
    """A definition without required keys, in which null is allowed; plain keys refer to the strict definition."""
    return _loosened(definition, DEFS + name)


def reachable(root: Json, definitions: Json) -> set[str]:
    """The names of the definitions that a schema needs."""
    needed: set[str] = set()
    waiting = _references(root)
    while waiting:
        name = waiting.pop().removeprefix(DEFS).partition("/")[0]
        if name not in needed:
            needed.add(name)
            waiting += _references(definitions[name])
    return needed


def _loosened(schema: Json, at: str) -> Json:
    made: Json = {}
    for word, value in schema.items():
        if word in ("required", "not"):
            continue
        if word in ("properties", "patternProperties"):
            made[word] = {key: _loosened_key(inner, f"{at}/{word}/{key}") for key, inner in value.items()}
        elif word == "additionalProperties" and value is not True:  # null deletes a key of the base file
            made[word] = _loosened_key(value, f"{at}/{word}") if value else NULL
        elif word in ("allOf", "anyOf"):
            made[word] = [_loosened(inner, f"{at}/{word}/{index}") for index, inner in enumerate(value)]
        elif word in ("then", "else"):
            made[word] = _loosened(value, f"{at}/{word}")
        elif word == "$ref":
            name, slash, rest = value.removeprefix(DEFS).partition("/")
            made[word] = f"{DEFS}{name}.overlay{slash}{rest}"
        else:  # lists are not merged, so their items stay strict
            made[word] = value
    return made


def _loosened_key(schema: Json, at: str) -> Json:
    if not schema:
        return {}
    if not _references(schema):
        return {"$ref": at} if allows_null(schema) else any_of([{"$ref": at}, NULL])
    loose = _loosened(schema, at)
    if allows_null(schema) or "/properties/" in schema.get("$ref", ""):  # its own definition allows null
        return loose
    text = {"description": loose.pop("description")} if "description" in loose else {}
    return text | any_of([loose, NULL])


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [ref for item in schema for ref in _references(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return own + [ref for value in schema.values() for ref in _references(value)]
