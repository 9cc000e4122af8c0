"""The schema of a whole option file: its sections, by training method, and the stages of a training."""

from __future__ import annotations

from typing import get_args

from uir.config.json_schema.annotations import NOT_JSON, Json, any_of, json_default, json_type
from uir.config.json_schema.components import SHARED, Components, names, where
from uir.config.json_schema.overlay import DEFS, NULL, overlay_of, reachable
from uir.config.methods import METHOD_SECTIONS, Method, keys_within, training_methods
from uir.config.named_keys import DATASET_PHASES, LOSS_SUFFIX
from uir.config.schema import BASE_TEXT, KEYS_OF_NO_STAGE, LossOptions, Options, StageOptions
from uir.config.spec import MISSING, Key, Keys, Place, section_keys

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_COMMON = {name: keys_within(section_keys(Options).keys[name].node) for name in METHOD_SECTIONS}


def option_schema(model_type: str | None = None) -> Json:
    """The JSON Schema (draft 2020-12) of option files, in a fixed order. It includes plugins that are imported already.

    Args:
        model_type: the only training method to describe; default all methods, each with its own keys.

    Raises:
        UnknownNameError: no training method has this name.
    """
    return _Builder().build(training_methods(model_type), closed_stages=model_type is None)


class _Builder:
    def __init__(self) -> None:
        self.definitions: Json = {}
        self.components = Components(self.definitions)
        self.sections: dict[str, Keys] = {}

    def build(self, methods: list[Method], closed_stages: bool) -> Json:
        for keys in (section_keys(Options), *map(section_keys, SHARED), *_COMMON.values()):
            self._section(keys)
        for method in methods:
            self._method(method)
        for name in ("Options", *(keys.name for keys in _COMMON.values())):
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
        branches = [where("model_type", list(m.forms), {"$ref": f"{DEFS}Options.{m.label}"}) for m in methods]
        text = section_keys(Options).keys["model_type"].text
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
        whole = self._keys(method.file, section_keys(Options), method)
        for name, base in _COMMON.items():
            section = method.section(name)
            made = self._keys(section, base, method)
            made["additionalProperties"] = section.is_open
            if name == "train":
                self._complete_training(made, method)
            ref = self._define(f"{base.name}.{method.label}", made)
            whole["properties"][name] = {"description": base.text} | (any_of([ref, NULL]) if name == "val" else ref)
        whole["properties"]["base"] = {"type": ["string", "null"], "description": BASE_TEXT}
        whole |= {"description": method.summary, "additionalProperties": method.file.is_open}
        required = [
            name for name, key in method.file.keys.items() if key.is_required and name not in Options.model_fields
        ]
        whole |= {"required": required} if required else {}
        self.definitions[f"Options.{method.label}"] = whole

    def _complete_training(self, train: Json, method: Method) -> None:
        """Allow losses under any name, if the method does; and stages instead of `total_iter`."""
        section = method.section("train")
        if section.has_open_losses:
            loss = any_of([self.components.reference("losses"), NULL])
            train["patternProperties"] = {f"{LOSS_SUFFIX}$": {"description": section_keys(LossOptions).text} | loss}
        stages: Json = {"type": "array", "items": {"$ref": f"{DEFS}Stage"}, "minItems": 1}
        train["properties"]["stages"] = {"description": section.keys["stages"].text} | any_of([stages, NULL])
        train["if"] = {"required": ["stages"], "properties": {"stages": {"type": "array"}}}
        train["then"] = {"not": {"required": ["total_iter"]}}
        train["else"] = {"required": ["total_iter", *method.required_optimizers((), None)]}

    def _union(self, name: str, labels: list[str]) -> None:
        """What any of the methods allows in a section, key by key: for files that do not name their method."""
        definitions = [self.definitions[f"{name}.{label}"] for label in labels if f"{name}.{label}" in self.definitions]
        made: Json = {"type": "object", "additionalProperties": any(d["additionalProperties"] for d in definitions)}
        for word in ("properties", "patternProperties"):
            for definition in definitions:
                made[word] = definition.get(word, {}) | made.get(word, {})
        if name == "Options":
            for key, section in _COMMON.items():
                ref = {"$ref": f"{DEFS}{section.name}.any"}
                text = {"description": section.text}
                made["properties"][key] = text | (any_of([ref, NULL]) if key == "val" else ref)
        self.definitions[f"{name}.any"] = made

    def _stage(self, closed: bool) -> None:
        """Define an entry of `train.stages`: its own keys, and those of the file and of `train`, all optional."""
        stage = section_keys(StageOptions)
        own = {name: self._key(key) for name, key in stage.keys.items()}
        names_of = json_type(stage.keys["losses"].node, self._part)
        overrides = {"$ref": f"{DEFS}TrainOptions.any.overlay"}
        own["train"] = {"description": stage.keys["train"].text, "anyOf": [names_of, overrides]}
        properties: Json = {}
        for name in ("TrainOptions.any", "Options.any"):
            for key in self.definitions[name]["properties"]:
                properties[key] = {"$ref": f"{DEFS}{name}.overlay/properties/{key}"}
        properties["model_type"] = {"$ref": f"{DEFS}File/properties/model_type"}
        for key in (*KEYS_OF_NO_STAGE, *(() if closed else ("model_type",))):
            del properties[key]
        patterns = self.definitions["TrainOptions.any"]["patternProperties"]
        self.definitions["Stage"] = {
            "type": "object",
            "description": stage.text,
            "properties": properties | own,
            "patternProperties": {key: any_of([{"$ref": f"{DEFS}losses.overlay"}, NULL]) for key in patterns},
            "required": [name for name, key in stage.keys.items() if key.is_required],
            "additionalProperties": not closed or self.definitions["Options.any"]["additionalProperties"],
        }

    # --- sections ---

    def _section(self, keys: Keys) -> Json:
        """A reference to the definition of a section, which is made if it is new."""
        name = keys.name
        if self.sections.setdefault(name, keys) is not keys:
            name = f"{keys.module}.{name}"
        if name not in self.definitions:
            self.definitions[name] = {}
            required = [name for name, key in keys.keys.items() if key.is_required]
            self.definitions[name] = self._keys(keys) | ({"required": required} if required else {})
        return {"$ref": DEFS + name}

    def _define(self, name: str, definition: Json) -> Json:
        """A reference to a definition, or to an earlier one that is equal."""
        family = name.partition(".")[0] + "."
        same = [other for other, known in self.definitions.items() if other.startswith(family) and known == definition]
        if not same:
            self.definitions[name] = definition
        return {"$ref": DEFS + (same or [name])[0]}

    def _keys(self, keys: Keys, base: Keys | None = None, method: Method | None = None) -> Json:
        """The keys of a section; those of `base` refer to it, and those without a description get the method's name."""
        properties: Json = {}
        for name, key in keys.keys.items():
            if base is not None and base.keys.get(name) == key:
                properties[name] = {"$ref": f"{DEFS}{base.name}/properties/{name}"}
            elif method is not None and not key.text and key.default is MISSING:
                properties[name] = {"description": f"Read by {method.label}."} | self._key(key)
            else:
                properties[name] = self._datasets(key) if name == "datasets" else self._key(key)
        return {
            "type": "object",
            "description": keys.text or (base.text if base else ""),
            "properties": properties,
            "additionalProperties": False,
        }

    def _key(self, key: Key) -> Json:
        made = json_type(key.node, self._part)
        kinds = [made["type"]] if isinstance(made.get("type"), str) else made.get("type", [])
        if "string" in kinds and str in (key.annotation, *get_args(key.annotation)):
            made = made | {"type": [*kinds, "number"]}  # sections take numbers as text: `suffix: 1`
        default = NOT_JSON if key.default is MISSING else json_default(key.default)
        return self._description(key) | made | ({} if default is NOT_JSON else {"default": default})

    @staticmethod
    def _description(key: Key) -> Json:
        return {"description": key.text} if key.text else {}

    def _part(self, node: Keys | Place) -> Json:
        return self.components.reference(node.kind) if isinstance(node, Place) else self._section(node)

    def _datasets(self, key: Key) -> Json:
        ref = self.components.reference("datasets")
        trained_on = {"allOf": [ref, {"required": ["batch_size_per_gpu"]}]}
        measured = [phase for phase in DATASET_PHASES if phase != "train"]
        return self._description(key) | {
            "type": "object",
            "properties": {phase: {"description": text} for phase, text in DATASET_PHASES.items()},
            "patternProperties": {"^train(_|$)": trained_on, f"^({'|'.join(measured)})(_|$)": ref},
            "additionalProperties": False,
            "default": {},
        }
