"""Checks an option file before anything is built; reports every mistake with its place and the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from uir.config.component_checks import recipe_problems
from uir.config.foreign_checks import ForeignChecker
from uir.config.methods import Method, file_of_unknown_method, is_training_method, method_of
from uir.config.named_keys import DATASET_PHASES, LOSS_SUFFIX, phase_of, says_its_name
from uir.config.problems import ADVICE, Problem, nearest, type_message
from uir.config.roles import Need, Phase
from uir.config.schema import KEYS_AT_BOTH_PLACES, Options, PathOptions
from uir.config.spec import (
    PLACES,
    Either,
    Keys,
    Leaf,
    ListOf,
    MappingOf,
    Node,
    Place,
    arm_for,
    class_keys,
    names_a_file,
    node_of,
    parts_of,
    section_keys,
)  # fmt: skip
from uir.config.yaml_file import KeyPath, Mark, YamlError, mapping_at
from uir.core.names import PLAIN_NAME, is_plain_name
from uir.registry import MODEL_REGISTRY, UnknownNameError
from uir.weights import shipped_weights


@dataclass
class Checked:
    """The result of a check.

    Attributes:
        options: the typed file; None if there are problems.
        problems: all mistakes, in the order of the file.
        warnings: what may be a mistake, or has no effect, in the order of the file.
        unchecked: keys that belong to a plugin which does not declare its keys.
        absent: files and folders that the file names and that do not exist.
    """

    options: Options | None
    problems: list[Problem]
    warnings: list[Problem]
    unchecked: list[str]
    absent: list[Problem]


def check(raw: dict[str, Any], marks: Mapping[KeyPath, Mark], root: Path, is_train: bool) -> Checked:
    """Check a merged option mapping. Its relative file names are made absolute in `raw` itself, from `root`."""
    return _Checker(raw, marks, root, is_train).run()


class _Checker(ForeignChecker):
    def __init__(self, raw: dict[str, Any], marks: Mapping[KeyPath, Mark], root: Path, is_train: bool) -> None:
        super().__init__(marks, root)
        self.raw, self.is_train = raw, is_train

    def run(self) -> Checked:
        self.method = self._method()
        if self.method is None:
            schema, file = Options, file_of_unknown_method(isinstance(self.raw.get("model_type"), str))
        else:
            schema, file = self.method.schema, self.method.file
        datasets = self.raw.get("datasets")
        if isinstance(datasets, dict):
            for key in [key for key, spec in datasets.items() if spec is None]:
                del datasets[key]  # `~` removes a section
        self._keys(file, self.raw, ())
        self._leave_to_plugin()
        self._datasets()
        self._rules()
        self._needs()
        options = None
        try:
            options = schema.model_validate(self.raw)
        except ValidationError as error:
            self._report_types(error)
        problems, warnings = self._in_order(self.problems), self._in_order(self.warnings)
        absent = [Problem.at(path, self.marks, f": there is no {file}") for path, file in self.absent.items()]
        return Checked(None if problems else options, problems, warnings, self.unchecked, absent)

    # --- reporting ---

    def _in_order(self, said: list[tuple[KeyPath, Problem]]) -> list[Problem]:
        return [problem for _, problem in sorted(said, key=lambda item: self._order(item[0]))]

    def _order(self, path: KeyPath) -> tuple[str, int]:
        mark = Problem.at(path, self.marks, "").mark
        return (str(mark.file), mark.line) if mark else ("", 0)

    def _report_types(self, error: ValidationError) -> None:
        reported: set[KeyPath] = {path for path, _ in self.problems}
        for item in error.errors(include_url=False):
            path = self._written(item["loc"])
            if path in reported or (item["type"] == "missing" and path[:-1] in reported):
                continue
            reported.add(path)
            if item["type"] == "missing":
                self._say(path, "is missing; it is required")
            else:
                self._say(path, type_message(item["type"], item["msg"], item["input"]))

    def _written(self, loc: tuple[int | str, ...]) -> KeyPath:
        """The part of a validator's location that is in the file; pydantic adds parts of its own for unions."""
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

    def _method(self) -> Method | None:
        """The training method; None if it is not known."""
        name = self.raw.get("model_type")
        if not isinstance(name, str):
            return None
        try:
            target = MODEL_REGISTRY.get(name)
        except UnknownNameError as error:
            self._say(("model_type",), f": {error}")
            return None
        if is_training_method(target):
            return method_of(name, self.is_train)
        self._say(
            ("model_type",),
            f": {name} is not a training method; the first parameter of its constructor must be `opt`, as in BasicSR, "
            "or it must derive from uir.models.base_model.BaseModel",
        )
        return None

    def _keys(self, keys: Keys, value: Mapping[str, Any], path: KeyPath) -> None:
        """Check a section: report its unknown keys, and check the values of its known keys."""
        for name, inner in value.items():
            key, here = keys.keys.get(name), (*path, name)
            named = says_its_name(name, ".".join(map(str, path)))
            is_loss = keys.has_open_losses and str(name).endswith(LOSS_SUFFIX) and isinstance(inner, Mapping)
            if key is None and not is_loss:
                if keys.is_open:
                    self._open_key(path, name, () if named is not None else keys.keys)
                    if not (isinstance(inner, Mapping) and "type" in inner):
                        continue  # the plugin alone knows what it is
                else:
                    self._say(here, f"is not an option{ADVICE.get(str(name)) or nearest(str(name), keys.keys)}")
            node = key.node if key is not None else node_of(named)
            if inner is not None and (key is not None or any(isinstance(part, Place) for part in parts_of(node))):
                self._descend(node, inner, here)

    def _descend(self, node: Node, value: Any, path: KeyPath) -> None:
        """Check a value by its node; the validator reports a value of another form."""
        if isinstance(node, Place):
            self._component(node, value, path)
        elif isinstance(node, Keys) and isinstance(value, Mapping):
            self._keys(node, value, path)
        elif isinstance(node, MappingOf) and isinstance(value, Mapping):
            for name, item in value.items():
                self._descend(node.item, item, (*path, name))
        elif isinstance(node, ListOf) and isinstance(value, list):
            for index, item in enumerate(value):
                self._descend(node.item, item, (*path, index))
        elif isinstance(node, Either):
            self._descend(arm_for(node, value), value, path)
        elif isinstance(node, Leaf):
            self._has_right_numbers(node.annotation, value, path)

    # --- rules between keys ---

    def _datasets(self) -> None:
        datasets = self.raw.get("datasets")
        if not isinstance(datasets, dict):
            if datasets is None:
                self._say(("datasets",), "is missing; it names the images to train or test on")
            return
        streams = tuple(getattr(self.method.target, "streams", ())) if self.method else ()
        for name in streams if self.is_train else ():
            if f"train_{name}" not in datasets:
                self._say(("datasets", f"train_{name}"), f"is missing; {self.raw['model_type']} learns from it")
        for key, spec in datasets.items():
            path, phase = ("datasets", key), phase_of(key)
            if not is_plain_name(str(key)):
                self._say(path, f": a dataset's key should be {PLAIN_NAME}")
            stream = str(key).removeprefix("train_")
            if self.method is not None and phase == "train" and key != "train" and stream not in streams:
                known = ", ".join(f"train_{name}" for name in streams) or "only train"
                self._say(path, f": {self.raw['model_type']} reads {known}{nearest(stream, streams)}; remove it")
            if phase not in DATASET_PHASES:
                names = ", ".join(DATASET_PHASES)
                self._say(path, f": a dataset's key starts with {names}{nearest(phase, DATASET_PHASES)}")
            if isinstance(spec, Mapping):
                self._progression(spec, path)
                for name in ("pair_pool", "mixup", *PROGRESSION) if phase != "train" else ():
                    if spec.get(name) is not None:
                        self._say((*path, name), "changes batches of a training set only; remove it")
            is_trained_on = phase == "train" and self.is_train
            if is_trained_on and isinstance(spec, Mapping) and spec.get("batch_size_per_gpu") is None:
                self._say((*path, "batch_size_per_gpu"), "is missing; it is required for training")

    def _progression(self, spec: Mapping[str, Any], path: KeyPath) -> None:
        """Check the keys of progressive training, which go together."""
        parts = [len(spec[name]) if isinstance(spec.get(name), list) else 0 for name in PROGRESSION]
        if len(set(parts)) > 1:
            self._say(
                path, f": {', '.join(PROGRESSION)} go together, with one entry each for each part of the training"
            )

    def _rules(self) -> None:
        train, method = self.raw.get("train"), self.method
        model: Any = method.target if method else None
        for key in KEYS_AT_BOTH_PLACES:
            everywhere, own = self.raw.get(key), mapping_at(self.raw, "train").get(key)
            if everywhere is not None and own is not None and everywhere != own:
                self._say((key,), f": {everywhere}, but train.{key} is {own}; keep one of them")
        if self.is_train:
            if not isinstance(train, Mapping):
                self._say(("train",), "is missing; a training file needs it (use `uir test` to test)")
            if isinstance(self.raw.get("datasets"), Mapping) and "train" not in self.raw["datasets"]:
                self._say(("datasets",), "lacks `train`, the dataset to train on")
        if isinstance(train, Mapping) and self.is_train and method is not None and not method.is_foreign:
            self._parameter_groups(train)
            self._try_optimizers(train)
            keys = [key for key, value in self.raw.items() if value is not None]
            for optimizer, network in method.required_optimizers(keys, True).items():
                if train.get(optimizer) is None:
                    self._say(("train",), f"lacks {optimizer}, the optimizer of {network}")
            for path, message in model.problems_of(self.raw):
                self._say(path, message)
        val = self.raw.get("val")
        if isinstance(val, Mapping):
            measured = [*mapping_at(val, "metrics"), *getattr(model, "measures", ())]
            self._metric_named(("val", "keep_best"), val.get("keep_best"), measured)
            if isinstance(val.get("radar"), Mapping):
                self._metric_named(("val", "radar", "metric"), val["radar"].get("metric"), measured)
                self._enough_for_radar()
            self._recipes(val.get("probes"))
        if method is not None and method.is_foreign:
            self._refuse_for_foreign(method, train if isinstance(train, Mapping) else {})
            if isinstance(train, Mapping):
                self._refuse_for_basicsr(model, train)
            if MODEL_REGISTRY.origin_of(model) == "basicsr":
                self._warn_of_dead_keys(model)
                self._networks_for_basicsr(model.__name__)
        self._paths()

    def _needs(self) -> None:
        """Check that the networks have the methods that the training method calls."""
        train: Any = self.raw.get("train")
        phase: Phase = "train" if self.is_train else "test"
        for role, declared in self.method.roles.items() if self.method is not None else ():
            path = (f"network_{role}",)
            for need in declared.needs if isinstance(self.raw.get(path[0]), Mapping) else ():
                is_replaced = isinstance(train, Mapping) and isinstance(train.get(need.instead), list)
                if phase in need.phases and not is_replaced:
                    self._need(path, need)

    def _need(self, path: KeyPath, need: Need) -> None:
        spec = self.raw[str(path[0])]
        network = self.networks.get(path)
        known = network
        if known is None:
            try:
                known = PLACES["archs"].get(str(spec.get("type")))
            except UnknownNameError:
                return  # this is reported already
        instead = f", or name the modules in train.{need.instead}" if need.instead else ""
        if not callable(getattr(known, need.method, None)):
            self._say(
                path, f"({spec['type']}) has no method {need.method}(), which {self.raw['model_type']} needs; "
                f"use another network{instead}"
            )  # fmt: skip
        elif network is not None:
            try:
                names = [getattr(item, "name", item) for item in getattr(network, need.method)()]
            except Exception as error:  # a plugin's may fail in any way
                self._say(path, f"({spec['type']}): its method {need.method}() fails: {type(error).__name__}: {error}")
                return
            modules = dict(network.named_modules())
            wrong = [name for name in names if name not in modules]
            if wrong or not names:
                what = f"names '{wrong[0]}', which is no module of it" if wrong else "names nothing"
                self._say(path, f"({spec['type']}): its method {need.method}() {what}")

    def _paths(self) -> None:
        """Make the file names in the section `path` absolute; they start at the root.

        A name of weights that are part of uir stands for their file.
        """
        shipped = shipped_weights()
        section: Any = self.raw.get("path")
        known = (self.method.section("path") if self.method else section_keys(PathOptions)).keys
        for key, value in section.items() if isinstance(section, Mapping) else ():
            annotation = known[key].annotation if key in known else says_its_name(key, "path")
            if isinstance(value, str) and names_a_file(annotation):
                if str(key).startswith("pretrain_network") and value in shipped and not (self.root / value).exists():
                    value = str(shipped[value])
                section[key] = self._absolute(value, ("path", key))
                if str(key).endswith("_root"):
                    self.absent.pop(("path", key), None)  # a run makes its folders

    def _metric_named(self, path: KeyPath, name: Any, metrics: Iterable[Any]) -> None:
        names = [str(key) for key in metrics]
        if name is not None and str(name) not in names:
            self._say(path, f": no metric of val.metrics is called '{name}'{nearest(str(name), names)}")

    def _recipes(self, probes: Any) -> None:
        """Check the recipe files of probes."""
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
        sets = [str(key) for key in datasets or () if phase_of(key) != "train"]
        if len(sets) < 3:
            names = ", ".join(sets) or "none"
            self._say(("val", "radar"), f": a radar chart needs at least 3 validation sets; the file has {names}")

    def _parameter_groups(self, train: Mapping[str, Any]) -> None:
        """Check the keys of parameter groups: each must be an argument of the optimizer."""
        for name, spec in train.items():
            groups = spec.get("groups") if str(name).startswith("optim_") and isinstance(spec, Mapping) else None
            place = PLACES["optimizers"]
            try:
                target = place.get(str(spec.get("type"))) if isinstance(groups, list) else None
            except UnknownNameError:
                continue  # this is reported already
            for index, group in enumerate(groups if target is not None and isinstance(groups, list) else ()):
                path, known = ("train", name, "groups", index), class_keys(place, target).keys
                for key in [key for key in group if key != "parameters"] if isinstance(group, dict) else ():
                    if key not in known:
                        self._say((*path, key), f"is not an argument of {spec['type']}{nearest(str(key), known)}")
                    elif key != "lr":
                        group[key] = self._typed(known[key].annotation, group[key], (*path, key))

    def _try_optimizers(self, train: Mapping[str, Any]) -> None:
        """Build the optimizers and schedulers, so that they check their own values."""
        from uir.config.trial_builds import RefusedError, try_optimizer, try_scheduler  # here: it imports torch

        def is_right(path: KeyPath) -> bool:
            spec = train.get(str(path[1]))
            return isinstance(spec, Mapping) and not any(place[: len(path)] == path for place, _ in self.problems)

        for key in [str(key) for key in train if str(key).startswith("optim_") and is_right(("train", key))]:
            path: KeyPath = ("train", key)
            scheduler = f"scheduler_{key.removeprefix('optim_')}"
            try:
                optimizer = try_optimizer(train[key])
                groups = train[key].get("groups")
                for index, group in enumerate(groups if isinstance(groups, list) else ()):
                    path = ("train", key, "groups", index)
                    if isinstance(group, Mapping) and is_right(path[:2]):
                        settings = {name: value for name, value in group.items() if name != "parameters"}
                        try_optimizer(train[key], settings)
                path = ("train", scheduler if train.get(scheduler) else "scheduler")
                if is_right(path):
                    try_scheduler(train[path[1]], optimizer)
            except RefusedError as error:
                if all(place != path for place, _ in self.problems):
                    self._say(path, str(error))


PROGRESSION = ("iters", "gt_sizes", "mini_batch_sizes")
