"""Checking an option file before anything is built: every mistake, with its place and the nearest valid name."""

from __future__ import annotations

import contextlib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from uir.config.component_checks import ComponentChecker, recipe_problems
from uir.config.problems import ADVICE, Problem, nearest, type_message
from uir.config.schema import DatasetOptions, LoaderOptions, Options, Section, compose
from uir.config.yaml_file import KeyPath, Mark, YamlError
from uir.core.names import PLAIN_NAME, is_plain_name
from uir.registry import MODEL_REGISTRY, UnknownNameError
from uir.registry.components import signature_of
from uir.registry.sources import ModelKeys, name_source

PHASES = ("train", "val", "test")


@dataclass
class Checked:
    """What checking found.

    Attributes:
        options: the typed file; None where there are problems.
        problems: all mistakes, in the order of the file.
        unchecked: keys that belong to a plugin which does not declare its keys.
    """

    options: Options | None
    problems: list[Problem]
    unchecked: list[str]


def check(raw: dict[str, Any], marks: Mapping[KeyPath, Mark], root: Path, is_train: bool) -> Checked:
    """Check a merged option mapping. Relative file names in it are made absolute in place, from `root`."""
    return _Checker(raw, marks, root, is_train).run()


def is_training_method(target: Any) -> bool:
    """Whether a registered model can be run: in BasicSR's manner, or derived from uir's base class."""
    return signature_of(target).takes_opt or hasattr(target, "network_roles")


def schema_of(model_type: str, is_train: bool | None = None) -> type[Options]:
    """The schema of option files for a training method; None for files that may be for training or for testing."""
    target = MODEL_REGISTRY.get(model_type)
    if signature_of(target).takes_opt:
        keys = _foreign_keys(target) or ModelKeys()
        return compose(keys.roles, losses=keys.losses)
    roles = target.network_roles
    required = [role for role, held in roles.items() if held.is_required(is_train)]
    return compose(roles, target.train_options, target.loss_slots, required, own=True)


def _foreign_keys(target: Any) -> ModelKeys | None:
    """The table's row for a basicsr model, or a plugin's model that derives from one; None where it has none."""
    for cls in inspect.getmro(target) if inspect.isclass(target) else ():
        if cls.__module__.startswith("basicsr.") and cls.__name__ in name_source().model_keys:
            return name_source().model_keys[cls.__name__]
    return None


class _Checker(ComponentChecker):
    def __init__(self, raw: dict[str, Any], marks: Mapping[KeyPath, Mark], root: Path, is_train: bool) -> None:
        super().__init__(marks, root)
        self.raw, self.is_train = raw, is_train
        self.foreign = False

    def run(self) -> Checked:
        schema = self._schema()
        self._sections(schema)
        self._networks_and_losses()
        self._datasets()
        self._metrics()
        self._rules()
        options = None
        try:
            options = schema.model_validate(self.raw)
        except ValidationError as error:
            self._report_types(error)
        order = sorted(self.problems, key=lambda item: self._order(item[0]))
        return Checked(options if not order else None, [problem for _, problem in order], self.unchecked)

    # --- reporting ---

    def _order(self, path: KeyPath) -> tuple[str, int]:
        mark = Problem.at(path, self.marks, "").mark
        return (str(mark.file), mark.line) if mark else ("", 0)

    def _report_types(self, error: ValidationError) -> None:
        said: set[KeyPath] = {path for path, _ in self.problems}
        for item in error.errors(include_url=False):
            path = self._written(item["loc"])
            if path in said or (item["type"] == "missing" and path[:-1] in said):
                continue
            said.add(path)
            if item["type"] == "missing":
                self._say(path, "is missing; it is required")
            else:
                self._say(path, type_message(item["type"], item["msg"], item["input"]))

    def _written(self, loc: tuple[int | str, ...]) -> KeyPath:
        """The part of a validator's location that is in the file (unions add their own parts)."""
        value: Any = self.raw
        path: list[str | int] = []
        for index, part in enumerate(loc):
            if isinstance(value, Mapping) and part in value:
                value = value[part]
            elif not (isinstance(value, Mapping) and index == len(loc) - 1):
                break
            path.append(part)
        return tuple(path)

    # --- keys ---

    def _schema(self) -> type[Options]:
        name = self.raw.get("model_type")
        self.model_keys: ModelKeys = ModelKeys()
        self.model_open = False
        self.open_losses = False
        self.declared: dict[str, set[str]] = {}
        self.model: Any = None
        if not isinstance(name, str):
            return Options
        try:
            self.model = MODEL_REGISTRY.get(name)
        except UnknownNameError as error:
            self._say(("model_type",), f": {error}")
            self.model_open = True
            return Options
        if signature_of(self.model).takes_opt:
            self.foreign = True
            known = _foreign_keys(self.model)
            own = getattr(self.model, "option_keys", None)
            self.model_keys = known or ModelKeys()
            is_plugin = MODEL_REGISTRY.origin_of(self.model) == "plugin"
            self.model_open = is_plugin and own is None
            for key in own or ():
                section, _, leaf = key.rpartition(".")
                self.declared.setdefault(section, set()).add(leaf)
        elif not is_training_method(self.model):
            self._say(
                ("model_type",),
                f": {name} is no training method; its constructor takes `opt` first, as BasicSR's do, or it derives "
                "from uir.models.base_model.BaseModel",
            )
            self.model, self.model_open = None, True
            return Options
        else:
            self.open_losses = bool(getattr(self.model, "open_losses", False))
        return schema_of(name, self.is_train)

    def _sections(self, schema: type[Options]) -> None:
        """Unknown keys of the sections that have a fixed set of them."""
        extra = {"": self.model_keys.root, "train": self.model_keys.train, "val": self.model_keys.val}
        self._section_keys((), self.raw, schema, extra[""] | self.declared.get("", set()))
        for name in ("path", "train", "val", "logger"):
            value = self.raw.get(name)
            if isinstance(value, Mapping):
                section = _section_type(schema, name) or Section
                known = extra.get(name, frozenset()) | self.declared.get(name, set())
                self._section_keys((name,), value, section, known)

    def _section_keys(
        self, path: KeyPath, value: Mapping[str, Any], section: type[Section], extra: Iterable[str]
    ) -> None:
        known = {*section.model_fields, *extra}
        for key, inner in value.items():
            if key in known:
                inner_type = _section_type(section, key) if key in section.model_fields else None
                fixed = (
                    inner_type is not None and "type" not in inner_type.model_fields and path + (key,) not in _OWN_CHECK
                )
                if fixed and isinstance(inner, Mapping) and inner_type is not None:
                    self._section_keys((*path, key), inner, inner_type, ())
                continue
            if path == ("train",) and self.open_losses and str(key).endswith("_opt") and isinstance(inner, Mapping):
                continue
            if self.model_open and path in ((), ("train",), ("val",), ("path",)):
                self._open_key(path, key, known)
            else:
                self._say((*path, key), f"is not an option{ADVICE.get(str(key)) or nearest(str(key), known)}")

    # --- components ---

    def _networks_and_losses(self) -> None:
        for key, value in self.raw.items():
            if str(key).startswith("network_") and value is not None:
                role = getattr(self.model, "network_roles", {}).get(str(key).removeprefix("network_"))
                supplied = role.supplied if role is not None else ()
                self._component("archs", value, (key,), supplied=supplied)
        train = self.raw.get("train")
        if not isinstance(train, Mapping):
            return
        for key, value in train.items():
            if value is None:
                continue
            path = ("train", key)
            if str(key).startswith("optim_"):
                self._optimizer(value, path)
            elif key == "scheduler" or str(key).startswith("scheduler_"):
                self._scheduler(value, path)
            elif str(key).endswith("_opt") and isinstance(value, Mapping):
                self._component("losses", value, path)
            elif key == "vectorisers" and isinstance(value, Mapping):
                for name, spec in value.items():
                    self._component("vectorisers", spec, (*path, name), hidden=("labels",))

    def _metrics(self) -> None:
        val = self.raw.get("val")
        metrics = val.get("metrics") if isinstance(val, Mapping) else None
        observers = val.get("observers") if isinstance(val, Mapping) else None
        for name, spec in observers.items() if isinstance(observers, Mapping) else ():
            self._component("observers", spec, ("val", "observers", name))
        for name, spec in (metrics or {}).items() if isinstance(metrics, Mapping) else ():
            self._component("metrics", spec, ("val", "metrics", name), ignored={"better"}, hidden=_IMAGES)

    def _datasets(self) -> None:
        datasets = self.raw.get("datasets")
        if not isinstance(datasets, dict):
            if datasets is None:
                self._say(("datasets",), "is missing; it says what to train or test on")
            return
        loader = set(LoaderOptions.model_fields)
        for key in [key for key, spec in datasets.items() if spec is None]:
            del datasets[key]  # `~` takes a section out
        streams = tuple(getattr(self.model, "streams", ()))
        for name in streams if self.is_train else ():
            if f"train_{name}" not in datasets:
                self._say(("datasets", f"train_{name}"), f"is missing; {self.raw['model_type']} learns from it")
        for key, spec in datasets.items():
            path = ("datasets", key)
            phase = str(key).split("_")[0]
            if phase not in PHASES:
                self._say(path, f": a dataset's key starts with {', '.join(PHASES)}{nearest(phase, PHASES)}")
            if not is_plain_name(str(key)):
                self._say(path, f": a dataset's key should be {PLAIN_NAME}")
            stream = str(key).removeprefix("train_")
            if phase == "train" and key != "train" and stream not in streams:
                known = ", ".join(f"train_{name}" for name in streams) or "no other than train"
                self._say(path, f": {self.raw['model_type']} reads {known}{nearest(stream, streams)}; remove it")
            self._component("datasets", spec, path, ignored=loader, supplied={"phase", "scale", "name"})
            if (
                phase == "train"
                and self.is_train
                and isinstance(spec, Mapping)
                and spec.get("batch_size_per_gpu") is None
            ):
                self._say((*path, "batch_size_per_gpu"), "is missing; it is required for training")

    def _optimizer(self, spec: Any, path: KeyPath) -> None:
        from uir.config.optimizers import optimizer_class, optimizer_names

        groups = spec.pop("groups", None) if isinstance(spec, dict) else None
        self._torch_class(spec, path, optimizer_class, set(optimizer_names()), "optimizer", {"params"})
        if groups is not None:
            spec["groups"] = groups
            self._parameter_groups(spec, path)
        other = isinstance(spec, Mapping) and spec.get("type") not in (None, "Adam")
        if self.foreign and other and MODEL_REGISTRY.origin_of(self.model) == "basicsr":
            self._say(
                (*path, "type"), f": basicsr's own models know only Adam, not {spec['type']}; uir:SRModel knows all"
            )

    def _parameter_groups(self, spec: dict[str, Any], path: KeyPath) -> None:
        """Each group's keys are the optimizer's."""
        from uir.config.optimizers import optimizer_class

        if self.foreign:
            self._say((*path, "groups"), f": {self.raw['model_type']} makes its optimizers itself; uir:SRModel can")
            return
        for index, group in enumerate(spec["groups"] if isinstance(spec["groups"], list) else ()):
            if isinstance(group, dict) and isinstance(spec.get("type"), str):
                names = group.pop("parameters", None)
                settings = {"type": spec["type"], **group}
                with contextlib.suppress(ValueError):  # an unknown optimizer is told already
                    self._call(optimizer_class(spec["type"]), settings, (*path, "groups", index), {"params"})
                group.update({key: value for key, value in settings.items() if key != "type"})
                if names is not None:
                    group["parameters"] = names

    def _scheduler(self, spec: Any, path: KeyPath) -> None:
        from uir.config.optimizers import scheduler_class, scheduler_names
        from uir.core.schedulers import SCHEDULERS

        supplied = {"optimizer"}
        if isinstance(spec, Mapping) and spec.get("type") in SCHEDULERS:
            supplied.add("last_epoch")
        self._torch_class(spec, path, scheduler_class, set(scheduler_names()), "scheduler", supplied)

    def _torch_class(
        self, spec: Any, path: KeyPath, find: Callable[[str], Any], names: set[str], kind: str, supplied: set[str]
    ) -> None:
        if not isinstance(spec, Mapping) or not isinstance(spec.get("type"), str):
            self._say(path, f"lacks `type`, the name of the {kind}")
            return
        try:
            target = find(spec["type"])
        except ValueError as error:
            self._say((*path, "type"), f": {error}{nearest(spec['type'], names)}")
            return
        self._call(target, spec, path, supplied)

    def _call(self, target: Any, spec: Any, path: KeyPath, supplied: set[str]) -> None:
        signature = signature_of(target)
        known = set(signature.parameters) - supplied
        for key in spec:
            if key == "type" or key in known:
                continue
            if signature.open:
                self._open_key(path, key, known)
            else:
                self._say((*path, key), f"is not an argument of {spec['type']}{nearest(str(key), known)}")
        missing = [name for name in signature.required if name not in {*spec, *supplied}]
        if missing:
            self._say(path, f"({spec['type']}) lacks {', '.join(missing)}")
        for key, value in list(spec.items()):
            if key in known:
                spec[key] = self._typed(signature.parameters[key].annotation, value, (*path, key))

    # --- rules between keys ---

    def _rules(self) -> None:
        train = self.raw.get("train")
        if self.is_train:
            if not isinstance(train, Mapping):
                self._say(("train",), "is missing; a training file needs it (use `uir test` to test)")
            if isinstance(self.raw.get("datasets"), Mapping) and "train" not in self.raw["datasets"]:
                self._say(("datasets",), "lacks `train`, the dataset to train on")
        if isinstance(train, Mapping) and self.is_train and not self.foreign and self.model is not None:
            for role, held in self.model.network_roles.items():
                given = held.is_required(True) or self.raw.get(f"network_{role}") is not None
                if held.trained and given and train.get(f"optim_{role}") is None:
                    self._say(("train",), f"lacks optim_{role}, the optimizer of network_{role}")
            for path, message in self.model.problems_of(self.raw):
                self._say(path, message)
        val = self.raw.get("val")
        if isinstance(val, Mapping):
            measured = [*(val.get("metrics") or {}), *getattr(self.model, "measures", ())]
            self._metric_named(("val", "keep_best"), val.get("keep_best"), measured)
            if isinstance(val.get("radar"), Mapping):
                self._metric_named(("val", "radar", "metric"), val["radar"].get("metric"), measured)
                self._enough_for_radar()
            self._recipes(val.get("probes"))
        if self.foreign:
            self._refuse_for_foreign(train if isinstance(train, Mapping) else {})
        for key, value in (self.raw.get("path") or {}).items() if isinstance(self.raw.get("path"), Mapping) else ():
            is_file = str(key).startswith(("pretrain_network", "resume_state")) or str(key).endswith("_root")
            if isinstance(value, str) and is_file:
                self.raw["path"][key] = str(self.root / Path(value).expanduser())

        of_basicsr = self.foreign and MODEL_REGISTRY.origin_of(self.model) == "basicsr"
        if of_basicsr and self.is_train and isinstance(train, Mapping) and train.get("scheduler") is None:
            self._say(("train",), f"lacks scheduler, which {self.raw['model_type']} cannot do without")

    def _metric_named(self, path: KeyPath, name: Any, metrics: Iterable[Any]) -> None:
        names = [str(key) for key in metrics]
        if name is not None and str(name) not in names:
            self._say(path, f": no metric of val.metrics is called '{name}'{nearest(str(name), names)}")

    def _recipes(self, probes: Any) -> None:
        """The recipe files of probes."""
        for kind, probe in probes.items() if isinstance(probes, Mapping) else ():
            recipe = probe.get("recipe") if isinstance(probe, Mapping) else None
            if isinstance(recipe, str) and recipe.endswith((".yml", ".yaml")):
                path = ("val", "probes", kind, "recipe")
                try:
                    self.problems += [(path, problem) for problem in recipe_problems(self.root / recipe, self.root)]
                except YamlError as error:
                    self._say(path, f": {error}")

    def _enough_for_radar(self) -> None:
        datasets = self.raw.get("datasets")
        sets = [str(key) for key in datasets or () if str(key).split("_")[0] != "train"]
        if len(sets) < 3:
            held = ", ".join(sets) or "none"
            self._say(("val", "radar"), f": a radar chart needs at least 3 validation sets; the file has {held}")

    def _refuse_for_foreign(self, train: Mapping[str, Any]) -> None:
        name = self.raw["model_type"]
        val = self.raw.get("val") or {}
        why = f"cannot be honoured for {name}, which does its whole step itself; uir:SRModel can"
        for path, value, neutral in (
            (("precision",), self.raw.get("precision"), "fp32"),
            (("compile",), self.raw.get("compile"), False),
            (("channels_last",), self.raw.get("channels_last"), False),
            (("grad_clip",), self.raw.get("grad_clip"), None),
            (("train", "grad_clip"), train.get("grad_clip"), None),
            (("train", "accumulate"), train.get("accumulate"), 1),
            *((("val", key), val.get(key), None) for key in ("keep_best", "probes", "sheet", "observers", "controls")),
            (("train", "max_nonfinite"), train.get("max_nonfinite"), None),
            (("train", "vectorisers"), train.get("vectorisers"), None),
        ):
            declared = path[-1] in self.declared.get(".".join(path[:-1]), set())
            if value is not None and value != neutral and not declared:
                self._say(path, why)


_IMAGES = ("img", "img2", "restored", "gt")
_OWN_CHECK: set[KeyPath] = {
    ("datasets",), ("path",), ("train",), ("val",), ("logger",), ("val", "metrics"), ("val", "observers"),
    ("train", "vectorisers"),
}  # fmt: skip


def _section_type(section: type[Section], key: str) -> type[Section] | None:
    """The section class of a field, looked for in unions."""
    annotation = section.model_fields[key].annotation if key in section.model_fields else None
    for candidate in (annotation, *typing.get_args(annotation)):
        if inspect.isclass(candidate) and issubclass(candidate, Section) and candidate is not DatasetOptions:
            return candidate
    return None
