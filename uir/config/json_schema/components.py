"""`{type: Name, argument: value, ...}`: every class that can be named, with its arguments and their descriptions.

The definition of a kind ("archs") offers the names, and by the name leads to the definition of the class
("archs.NAFNet").
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from uir.config.json_schema.annotations import NOT_JSON, Json, json_default, json_type, resolved
from uir.config.json_schema.docstrings import argument_descriptions
from uir.config.json_schema.methods import forms_of
from uir.config.json_schema.overlay import DEFS
from uir.config.schema import LoaderOptions
from uir.registry import DATASET_REGISTRY, REGISTRIES, Origin, first_line
from uir.registry.components import Nested, Signature, nested_registry, signature_of
from uir.registry.sources import name_source


@dataclass(frozen=True)
class Kind:
    """A place for components: which registry it takes, and how its keys differ from a constructor's arguments.

    Attributes:
        registry: key of `REGISTRIES`.
        hidden: arguments that are no options.
        supplied: arguments that the rest of the file gives.
        extra: keys that somebody else reads.
    """

    registry: str
    hidden: tuple[str, ...] = ()
    supplied: tuple[str, ...] = ()
    extra: Json = field(default_factory=dict)


_FROM_FILE = ("phase", "scale", "name")
_BETTER = {"enum": ["higher", "lower"], "description": "Which scores are good; default what the metric says itself."}
_LOADER = {key: {"$ref": f"{DEFS}LoaderOptions/properties/{key}"} for key in LoaderOptions.model_fields}
KINDS = {
    "archs": Kind("archs"),
    "losses": Kind("losses"),
    "degradations": Kind("degradations"),
    "metrics": Kind("metrics", hidden=("img", "img2", "restored", "gt"), extra={"better": _BETTER}),
    "datasets": Kind("datasets", supplied=_FROM_FILE, extra=_LOADER),
    "tasks": Kind("datasets", supplied=_FROM_FILE),  # datasets within a dataset
}


class Components:
    """Writes the definitions of components into `definitions`, each when it is first asked for."""

    def __init__(self, definitions: Json) -> None:
        self.definitions = definitions

    def reference(self, kind: str) -> Json:
        """A reference to the definition of a kind: a key of `KINDS`, `optimizers` or `schedulers`."""
        if kind not in self.definitions:
            self.definitions[kind] = {}  # a class may hold others of its own kind
            makers = {"optimizers": self._optimizers, "schedulers": self._schedulers}
            self.definitions[kind] = makers[kind]() if kind in makers else self._choice(kind)
        return {"$ref": DEFS + kind}

    def nested(self, annotation: Any) -> Json | None:
        """The schema of a constructor's argument that is itself a component; None for others."""
        for item in getattr(annotation, "__metadata__", ()):
            if isinstance(item, Nested):
                return self.reference("tasks" if item.registry == "datasets" else item.registry)
        return None

    # --- the registries' classes ---

    def _choice(self, kind: str) -> Json:
        registry = REGISTRIES[KINDS[kind].registry]
        summaries: dict[str, str] = {}
        forced: list[str] = []
        branches = []
        for entry in registry.entries():
            summaries[entry.name] = entry.summary
            for origin, forms in forms_of(entry).items():
                forced += [form for form in forms if form != entry.name]
                made = self._class(kind, entry.name, forms[0], origin)
                if made is not None:
                    branches.append(self._branch(kind, forms, made))
        return _choice(names(summaries, forced, f"Name of the {registry.kind}."), branches)

    def _branch(self, kind: str, forms: list[str], made: Json) -> Json:
        self.definitions[f"{kind}.{forms[0]}"] = made
        return where("type", forms, {"$ref": f"{DEFS}{kind}.{forms[0]}"})

    def _class(self, kind: str, name: str, form: str, origin: Origin) -> Json | None:
        """The keys of one class; None where they are not known."""
        place = KINDS[kind]
        if origin == "basicsr":
            table = name_source().dataset_keys.get(name) if place.registry == "datasets" else None
            return None if table is None else _object({key: {} for key in sorted(table)} | place.extra, "")
        target = REGISTRIES[place.registry].get(form)
        signature = signature_of(target)
        declared = getattr(target, "option_keys", None)
        keys: set[str] = set(declared or ())
        if signature.takes_opt:
            keys |= name_source().dataset_keys.get(target.__name__, frozenset())
        required: list[str] = []
        if not signature.takes_opt:
            given = {*place.hidden, *place.supplied, *(_handed_down() if kind == "tasks" else ())}
            required = [argument for argument in signature.required if argument not in given]
        is_open = origin == "plugin" and declared is None and (signature.takes_opt or signature.open)
        properties = self._arguments(target, signature, keys, place.hidden) | place.extra
        return _object(properties, first_line(target), required, is_open)

    def _arguments(self, target: Any, signature: Signature, declared: Collection[str], hidden: Collection[str]) -> Json:
        """The arguments of a constructor or function, and the keys that a class declares beside them."""
        keys = [name for name in signature.parameters if name not in hidden]
        keys += sorted(set(declared) - set(keys))
        texts = argument_descriptions(target, keys)
        namespace = getattr(target.__init__ if inspect.isclass(target) else target, "__globals__", {})
        properties: Json = {}
        for key in keys:
            made: Json = {"description": texts[key]} if key in texts else {}
            parameter = signature.parameters.get(key)
            if parameter is not None:
                if parameter.annotation is not inspect.Parameter.empty:
                    made |= json_type(resolved(parameter.annotation, namespace), self.nested)
                default = NOT_JSON if parameter.default is inspect.Parameter.empty else json_default(parameter.default)
                made |= {} if default is NOT_JSON else {"default": default}
            properties[key] = made
        return properties

    # --- torch's classes ---

    def _optimizers(self) -> Json:
        from uir.config.optimizers import optimizer_names

        rate = {"lr": {"$ref": f"{DEFS}OptimOptions/properties/lr"}}
        return self._torch_classes("optimizers", optimizer_names(), rate, ("params",))

    def _schedulers(self) -> Json:
        from uir.config.optimizers import scheduler_names

        return self._torch_classes("schedulers", scheduler_names(), {}, ("optimizer", "last_epoch"))

    def _torch_classes(self, kind: str, found: dict[str, Any], own: Json, hidden: tuple[str, ...]) -> Json:
        """A choice of classes; `own` are keys that all of them have and a file must give."""
        branches = []
        for name, target in sorted(found.items()):
            signature = signature_of(target)
            required = sorted({*signature.required, *own} - set(hidden))
            properties = self._arguments(target, signature, (), hidden) | {key: {} for key in own}
            branches.append(self._branch(kind, [name], _object(properties, first_line(target), required)))
        summaries = {name: first_line(target) for name, target in sorted(found.items())}
        plain = names(summaries, [], "")
        by_path: Json = {"type": "string", "pattern": "[.:]"}  # `my_pkg.Optimizer`, `timm:lion`
        text = {"description": f"Name of the {kind[:-1]}, or a dotted path."}
        return _choice(
            text | {"anyOf": [{key: plain[key] for key in ("enum", "enumDescriptions")}, by_path]}, branches, own
        )


def names(summaries: dict[str, str], forced: list[str], text: str) -> Json:
    """A choice of names: the plain ones are offered with their summaries, those with a forced origin accepted."""
    plain: Json = {"enum": list(summaries), "enumDescriptions": list(summaries.values())}
    return {"description": text} | ({"anyOf": [plain, {"enum": forced}]} if forced else plain)


def where(key: str, forms: list[str], then: Json) -> Json:
    """`then` holds where a key has one of these values."""
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


def _handed_down() -> set[str]:
    """Arguments that a dataset made of datasets may give to those within it."""
    found: set[str] = set()
    for _, target in DATASET_REGISTRY:
        parameters = signature_of(target).parameters
        if any(nested_registry(parameter.annotation)[0] == "datasets" for parameter in parameters.values()):
            found |= set(parameters)
    return found
