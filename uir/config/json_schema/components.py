"""`{type: Name, argument: value, ...}`: every class that can be named, with its arguments and their descriptions.

The definition of a kind ("archs") lists the names, and each name leads to the definition of its class
("archs.NAFNet").
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from uir.config.docstrings import argument_descriptions
from uir.config.json_schema.annotations import NOT_JSON, Json, json_default, json_type
from uir.config.json_schema.overlay import DEFS
from uir.config.methods import forms_of
from uir.config.schema import LoaderOptions, OptimOptions
from uir.config.spec import MISSING, PLACES, Keys, Place, class_keys, parts_of
from uir.registry import DATASET_REGISTRY, MODEL_REGISTRY, TABLES, Origin
from uir.registry.sources import name_source

SHARED = (LoaderOptions, OptimOptions)
"""The sections whose keys are defined once; classes that have the same keys refer to them."""


class Components:
    """Writes the definitions of components into `definitions`, each when it is first needed."""

    def __init__(self, definitions: Json) -> None:
        self.definitions = definitions

    def reference(self, kind: str) -> Json:
        """A reference to the definition of a place (key of `PLACES`)."""
        if kind not in self.definitions:
            self.definitions[kind] = {}  # a class may contain others of its own kind
            place = PLACES[kind]
            self.definitions[kind] = self._choice(place) if place.table else self._torch_classes(place)
        return {"$ref": DEFS + kind}

    def part(self, node: Keys | Place) -> Json:
        """The schema of an argument's value."""
        return self.reference(node.kind) if isinstance(node, Place) else {}

    # --- the registries' classes ---

    def _choice(self, place: Place) -> Json:
        summaries: dict[str, str] = {}
        forced: list[str] = []
        branches = []
        for entry in TABLES[place.table].entries():
            summaries[entry.name] = entry.summary
            for origin, forms in forms_of(entry).items():
                forced += [form for form in forms if form != entry.name]
                made = self._class(place, entry.name, forms[0], origin)
                if made is not None:
                    branches.append(self._branch(place.kind, forms, made))
        written = names(summaries, forced, f"Name of the {place.noun}.")
        for prefix in TABLES[place.table].further_origins:
            written["anyOf"].append({"type": "string", "pattern": f"^{prefix}:."})
        return _choice(written, branches)

    def _branch(self, kind: str, forms: list[str], made: Json) -> Json:
        self.definitions[f"{kind}.{forms[0]}"] = made
        return where("type", forms, {"$ref": f"{DEFS}{kind}.{forms[0]}"})

    def _class(self, place: Place, name: str, form: str, origin: Origin) -> Json | None:
        """The keys of one class; None if they are not known."""
        own = self._own(place)
        if origin == "basicsr":
            table = name_source().dataset_keys.get(name) if place.table == "datasets" else None
            return None if table is None else _object({key: {} for key in sorted(table)} | own, "")
        target = place.get(form)
        keys = class_keys(place, target, origin)
        supplied = place.supplied | _supplied_by_others(place.kind)
        required = [name for name, key in keys.keys.items() if key.is_required and name not in supplied]
        return _object(self._arguments(target, keys) | own, keys.text, required, keys.is_open)

    def _arguments(self, target: Any, keys: Keys) -> Json:
        """The arguments of a class or function."""
        texts = argument_descriptions(target, list(keys.keys))
        properties: Json = {}
        for name, key in keys.keys.items():
            made: Json = {"description": texts[name]} if name in texts else {}
            made |= json_type(key.node, self.part)
            default = NOT_JSON if key.default is MISSING else json_default(key.default)
            properties[name] = made | ({} if default is NOT_JSON else {"default": default})
        return properties

    def _own(self, place: Place) -> Json:
        """The keys that all classes at a place have."""
        own: Json = {}
        for name, key in place.own.keys.items():
            shared = next((section for section in SHARED if name in section.model_fields), None)
            if shared is not None and issubclass(place.section, shared):
                own[name] = {"$ref": f"{DEFS}{shared.__name__}/properties/{name}"}
            else:
                own[name] = {"description": key.text} | json_type(key.node, self.part)
        return own

    # --- torch's classes ---

    def _torch_classes(self, place: Place) -> Json:
        own, kind = self._own(place), place.kind
        branches, summaries = [], {}
        for name, target in sorted(place.torch_classes().items()):
            keys = class_keys(place, target)
            summaries[name] = keys.text
            required = sorted({name for name, key in (keys.keys | place.own.keys).items() if key.is_required})
            properties = self._arguments(target, keys) | {key: {} for key in own}
            branches.append(self._branch(kind, [name], _object(properties, keys.text, required)))
        plain = names(summaries, [], "")
        by_path: Json = {"type": "string", "pattern": "[.:]"}  # `my_pkg.Optimizer`, `timm:lion`
        text = {"description": f"Name of the {place.noun}, or a dotted path."}
        return _choice(
            text | {"anyOf": [{key: plain[key] for key in ("enum", "enumDescriptions")}, by_path]}, branches, own
        )


def names(summaries: dict[str, str], forced: list[str], text: str) -> Json:
    """A choice of names: editors offer the plain ones with their summaries; those with an origin are valid too."""
    plain: Json = {"enum": list(summaries), "enumDescriptions": list(summaries.values())}
    return {"description": text} | ({"anyOf": [plain, {"enum": forced}]} if forced else plain)


def where(key: str, forms: list[str], then: Json) -> Json:
    """A schema that applies `then` if a key has one of these values."""
    return {"if": {"properties": {key: {"enum": forms}}, "required": [key]}, "then": then}


def _choice(type_names: Json, branches: list[Json], common: Json | None = None) -> Json:
    properties = {"type": type_names} | (common or {})
    return {"type": "object", "required": ["type"], "properties": properties, "allOf": branches}


def _object(properties: Json, text: str, required: Collection[str] = (), is_open: bool = False) -> Json:
    made: Json = {"type": "object"} | ({"description": text} if text else {})
    made |= {"properties": {"type": {}} | properties}
    return (
        made | ({"required": list(required)} if required else {}) | ({} if is_open else {"additionalProperties": False})
    )


def _supplied_by_others(kind: str) -> set[str]:
    """Arguments that others may supply: a training method to a network, a dataset to the datasets within it."""
    if kind == "archs":
        roles = [getattr(target, "network_roles", {}) for _, target in MODEL_REGISTRY]
        return {name for by_role in roles for role in by_role.values() for name in role.supplied}
    arguments: set[str] = set()
    for _, target in DATASET_REGISTRY if kind == "tasks" else ():
        keys = class_keys(PLACES["datasets"], target).keys
        if any(part is PLACES["tasks"] for key in keys.values() for part in parts_of(key.node)):
            arguments |= set(keys)
    return arguments
