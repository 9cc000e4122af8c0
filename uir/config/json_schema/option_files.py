"""The schema of a whole option file: its sections, by training method, and the stages of a training."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, get_args

from uir.config.json_schema.annotations import NOT_JSON, Json, any_of, json_default, json_type
from uir.config.json_schema.components import Components, names, where
from uir.config.json_schema.methods import Method, training_methods
from uir.config.json_schema.overlay import DEFS, NULL, overlay_of, reachable
from uir.config.schema import (
    Component,
    LoaderOptions,
    OptimOptions,
    Options,
    PathOptions,
    SchedulerOptions,
    Section,
    TrainOptions,
    ValOptions,
)
from uir.registry import first_line

DRAFT = "https://json-schema.org/draft/2020-12/schema"
# The sections that a training method may add keys to.
_SECTIONS: dict[str, type[Section]] = {"path": PathOptions, "train": TrainOptions, "val": ValOptions}
_DESCRIPTIONS = {
    "type": "Name in the registry.",
    "num_gpu": "GPUs to use; 0 is the CPU, `auto` all there are.",
    "precision": "Type that the networks compute in; weights stay in fp32.",
    "find_unused_parameters": "With several processes: some parameters get no gradient in some steps.",
    "datasets": "What to train, validate and test on; keys start with `train`, `val` or `test`.",
    "pin_memory": "Put batches in page-locked memory, for a faster way to the GPU.",
    "persistent_workers": "Keep the loader processes between epochs.",
    "prefetch_mode": "BasicSR's key: how batches are fetched ahead.",
    "project": "Name of the project.",
    "resume_id": "Id of the run to go on with.",
    "base": "An option file to start from: mappings merge, lists replace, null deletes.",
}


def option_schema(model_type: str | None = None) -> Json:
    """The JSON Schema (draft 2020-12) of option files, in a fixed order. Plugins count if they were imported before.

    Args:
        model_type: only files of this training method; default all methods, each with its own keys.

    Raises:
        UnknownNameError: no training method has this name.
    """
    return _Builder().build(training_methods(model_type), closed_stages=model_type is None)


class _Builder:
    def __init__(self) -> None:
        self.definitions: Json = {}
        self.components = Components(self.definitions)
        self.sections: dict[str, type[Section]] = {}

    def build(self, methods: list[Method], closed_stages: bool) -> Json:
        common: list[type[Section]] = [Options, LoaderOptions, OptimOptions, *_SECTIONS.values()]
        for section in common:
            self._section(section)
        for method in methods:
            self._method(method)
        for name in ("Options", *(section.__name__ for section in _SECTIONS.values())):
            self._union(name, [method.label for method in methods])
        self._stage(closed_stages)
        self._file(methods)
        for name, definition in list(self.definitions.items()):
            self.definitions[f"{name}.overlay"] = overlay_of(name, definition)
        root: Json = {
            "$schema": DRAFT,
            "title": "uir option file",
            "description": "A training or a test with uir, in BasicSR's format.",
            "if": {"required": ["base"]},
            "then": {"$ref": f"{DEFS}File.overlay"},
            "else": {"$ref": f"{DEFS}File"},
        }
        return root | {"$defs": {name: self.definitions[name] for name in sorted(reachable(root, self.definitions))}}

    # --- the file ---

    def _file(self, methods: list[Method]) -> None:
        plain = {method.label: method.summary for method in methods if ":" not in method.label}
        forced = [form for method in methods for form in method.forms if form not in plain]
        branches = [where("model_type", m.forms, {"$ref": f"{DEFS}Options.{m.label}"}) for m in methods]
        text = Options.model_fields["model_type"].description or ""
        self.definitions["File"] = {
            "type": "object",
            "required": ["name", "model_type", "datasets"],
            "properties": {"model_type": names(plain, forced, text)},
            "if": {"required": ["model_type"]},
            "then": {"allOf": branches},
            "else": {"$ref": f"{DEFS}Options.any"},
        }

    def _method(self, method: Method) -> None:
        """The definitions `Options.X`, `PathOptions.X`, `TrainOptions.X` and `ValOptions.X`."""
        whole = self._keys(method.schema, Options, method.extra.get("", ()), method.label)
        for key, base in _SECTIONS.items():
            own = _section_of(method.schema.model_fields[key].annotation) or base
            made = self._keys(own, base, method.extra.get(key, ()), method.label)
            made["additionalProperties"] = method.is_open
            if key == "train":
                self._complete_training(made, method)
            ref = self._define(f"{base.__name__}.{method.label}", made)
            text = {"description": first_line(base)}
            whole["properties"][key] = text | (any_of([ref, NULL]) if key == "val" else ref)
        whole["properties"]["base"] = {"type": ["string", "null"], "description": _DESCRIPTIONS["base"]}
        whole |= {"description": method.summary, "additionalProperties": method.is_open}
        whole |= {"required": method.networks} if method.networks else {}
        self.definitions[f"Options.{method.label}"] = whole

    def _complete_training(self, train: Json, method: Method) -> None:
        """Losses under any name, where the method has them; and stages in place of `total_iter`."""
        if method.open_losses:
            loss = any_of([self.components.reference("losses"), NULL])
            train["patternProperties"] = {"_opt$": {"description": "A loss."} | loss}
        stages: Json = {"type": "array", "items": {"$ref": f"{DEFS}Stage"}, "minItems": 1}
        text = TrainOptions.model_fields["stages"].description or ""
        train["properties"]["stages"] = {"description": text} | any_of([stages, NULL])
        train["if"] = {"required": ["stages"], "properties": {"stages": {"type": "array"}}}
        train["then"] = {"not": {"required": ["total_iter"]}}
        train["else"] = {"required": ["total_iter", *method.optimizers]}

    def _union(self, name: str, labels: list[str]) -> None:
        """What any of the methods allows in a section, key by key: for files that do not name their method."""
        held = [self.definitions[f"{name}.{label}"] for label in labels if f"{name}.{label}" in self.definitions]
        made: Json = {"type": "object", "additionalProperties": any(d["additionalProperties"] for d in held)}
        for word in ("properties", "patternProperties"):
            for definition in held:
                made[word] = definition.get(word, {}) | made.get(word, {})
        if name == "Options":
            for key, section in _SECTIONS.items():
                ref = {"$ref": f"{DEFS}{section.__name__}.any"}
                text = {"description": first_line(section)}
                made["properties"][key] = text | (any_of([ref, NULL]) if key == "val" else ref)
        self.definitions[f"{name}.any"] = made

    def _stage(self, closed: bool) -> None:
        """An entry of `train.stages`: its own keys, and loosely those of the file and of `train`."""
        names_of: Json = {"type": "array", "items": {"type": "string"}}
        own: Json = {
            "name": {"type": "string", "description": "Name of the stage."},
            "iterations": {"type": "integer", "minimum": 1, "description": "Length of the stage."},
            "losses": names_of | {"description": "Keep only these losses, such as [pixel_opt]."},
            "carry": names_of
            | {"description": "Optimizers whose moments go on, such as [optim_g]; others start anew."},
            "train": {
                "description": "Train only these networks, such as [network_g]; or overrides of `train`.",
                "anyOf": [names_of, {"$ref": f"{DEFS}TrainOptions.any.overlay"}],
            },
        }
        properties: Json = {}
        for name in ("TrainOptions.any", "Options.any"):
            for key in self.definitions[name]["properties"]:
                properties[key] = {"$ref": f"{DEFS}{name}.overlay/properties/{key}"}
        properties["model_type"] = {"$ref": f"{DEFS}File/properties/model_type"}
        for key in ("stages", "total_iter", "base", *(() if closed else ("model_type",))):
            del properties[key]
        patterns = self.definitions["TrainOptions.any"]["patternProperties"]
        self.definitions["Stage"] = {
            "type": "object",
            "description": "A stage of the training: its name, its length, and overrides of the file.",
            "properties": properties | own,
            "patternProperties": {key: any_of([{"$ref": f"{DEFS}losses.overlay"}, NULL]) for key in patterns},
            "required": ["name", "iterations"],
            "additionalProperties": not closed or self.definitions["Options.any"]["additionalProperties"],
        }

    # --- sections ---

    def _section(self, section: type[Section]) -> Json:
        """A reference to the definition of a section, made if it is new."""
        name = section.__name__
        if self.sections.setdefault(name, section) is not section:
            name = f"{section.__module__}.{name}"
        if name not in self.definitions:
            self.definitions[name] = {}
            made = self._keys(section, Section)
            required = [key for key, info in section.model_fields.items() if info.is_required()]
            self.definitions[name] = made | ({"required": required} if required else {})
        return {"$ref": DEFS + name}

    def _define(self, name: str, definition: Json) -> Json:
        """A reference to a definition: to an earlier one where they are equal."""
        family = name.partition(".")[0] + "."
        same = [key for key, held in self.definitions.items() if key.startswith(family) and held == definition]
        if not same:
            self.definitions[name] = definition
        return {"$ref": DEFS + (same or [name])[0]}

    def _keys(self, section: type[Section], base: type[Section], extra: Iterable[str] = (), reader: str = "") -> Json:
        """The keys of a section; those that it has from `base` refer there, `extra` ones may hold anything."""
        properties: Json = {}
        for key, info in section.model_fields.items():
            if key in base.model_fields and repr(base.model_fields[key]) == repr(info):
                properties[key] = {"$ref": f"{DEFS}{base.__name__}/properties/{key}"}
            else:
                properties[key] = self._key(section, key)
        return {
            "type": "object",
            "description": first_line(section) or first_line(base),
            "properties": properties | {key: {"description": f"Read by {reader}."} for key in sorted(extra)},
            "additionalProperties": issubclass(section, Component),
        }

    def _key(self, section: type[Section], key: str) -> Json:
        info = section.model_fields[key]
        if section is Options and key == "datasets":
            made = self._datasets()
        else:
            made = json_type(info.annotation, lambda annotation: self._known(annotation, key), info.metadata)
        kinds = [made["type"]] if isinstance(made.get("type"), str) else made.get("type", [])
        if "string" in kinds and str in (info.annotation, *get_args(info.annotation)):
            made = made | {"type": [*kinds, "number"]}  # sections take numbers as text: `suffix: 1`
        text = info.description or _text_of(key) or first_line(_section_of(info.annotation))
        default = NOT_JSON if info.is_required() else json_default(info.get_default(call_default_factory=True))
        return ({"description": text} if text else {}) | made | ({} if default is NOT_JSON else {"default": default})

    def _known(self, annotation: Any, key: str) -> Json | None:
        """The schema of a section or a component under a key; None for what is neither."""
        if not (inspect.isclass(annotation) and issubclass(annotation, Section)):
            return self.components.nested(annotation)
        if issubclass(annotation, OptimOptions):
            return self.components.reference("optimizers")
        if issubclass(annotation, SchedulerOptions):
            return self.components.reference("schedulers")
        if annotation is Component and key.startswith("network_"):
            return self.components.reference("archs")
        if annotation is Component and key.endswith("_opt"):
            return self.components.reference("losses")
        if annotation is Component and key == "metrics":
            return self.components.reference("metrics")
        return self._section(annotation)

    def _datasets(self) -> Json:
        ref = self.components.reference("datasets")
        texts = {"train": "What to train on.", "val": "What to validate on.", "test": "What to test on."}
        return {
            "type": "object",
            "properties": {phase: {"description": text} for phase, text in texts.items()},
            "patternProperties": {
                "^train(_|$)": {"allOf": [ref, {"required": ["batch_size_per_gpu"]}]},
                "^(val|test)(_|$)": ref,
            },
            "additionalProperties": False,
        }


def _text_of(key: str) -> str:
    kind, _, role = key.partition("_")
    if key.endswith("_opt"):
        return "A loss."
    texts = {"network": f"The network `{role}`.", "optim": f"Optimizer of network_{role}."}
    return _DESCRIPTIONS.get(key) or texts.get(kind, "")


def _section_of(annotation: Any) -> type[Section] | None:
    """The section class of a field, looked for in unions."""
    parts = (annotation, *get_args(annotation))
    return next((part for part in parts if inspect.isclass(part) and issubclass(part, Section)), None)
