"""Checks `{type: Name, argument: value, ...}` in a file against the class that it names, before it is built."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import PydanticUserError, ValidationError

from uir.config.problems import Problem, nearest, similar, type_message
from uir.config.spec import (
    PLACES,
    Either,
    Keys,
    ListOf,
    MappingOf,
    Node,
    Place,
    arm_for,
    class_keys,
    names_a_file,
    parts_of,
    validator_of,
)  # fmt: skip
from uir.config.yaml_file import KeyPath, Mark, read_yaml
from uir.core.files import home_expanded
from uir.registry import TABLES, UnknownNameError, nearest_names
from uir.registry.components import build
from uir.registry.sources import name_source

# Keys that name files in dictionary classes; in other classes the annotation `Path` marks such an argument.
PATH_KEYS = ("dataroot_gt", "dataroot_lq", "dataroot_flow", "dataroot", "meta_info_file", "meta_info")


def recipe_problems(file: Path, root: Path) -> list[Problem]:
    """The mistakes of a recipe file: one degradation, or several by label, at the top level or below `subsets`.

    Raises:
        YamlError: the file cannot be read.
    """
    content, marks = read_yaml(file)
    checker = ComponentChecker(marks, root)
    within: KeyPath = ("subsets",) if isinstance(content, Mapping) and "subsets" in content else ()
    recipes = content["subsets"] if within else content
    if not isinstance(recipes, Mapping) or "type" in recipes:
        checker._component(PLACES["degradations"], recipes, within)
    else:
        for label, spec in recipes.items():
            checker._component(PLACES["degradations"], spec, (*within, str(label)))
    return [problem for _, problem in checker.problems]


class ComponentChecker:
    """Collects the mistakes of components.

    Args:
        marks: the places where the file's keys were written.
        root: the folder that relative file names start from; they are made absolute in the mapping itself.

    Attributes:
        problems: the mistakes, each with its key path.
        warnings: what may be a mistake, in the same form.
        unchecked: keys that belong to a plugin which does not declare its keys.
        absent: files that the file names and that do not exist, the first one of each key path.
        networks: the networks of the file that could be built, without values, by key path.
    """

    def __init__(self, marks: Mapping[KeyPath, Mark], root: Path) -> None:
        self.marks, self.root = marks, root
        self.problems: list[tuple[KeyPath, Problem]] = []
        self.warnings: list[tuple[KeyPath, Problem]] = []
        self.unchecked: list[str] = []
        self.absent: dict[KeyPath, Path] = {}
        self.networks: dict[KeyPath, Any] = {}

    def _say(self, path: KeyPath, message: str) -> None:
        self.problems.append((path, Problem.at(path, self.marks, message)))

    def _warn(self, path: KeyPath, message: str) -> None:
        self.warnings.append((path, Problem.at(path, self.marks, message)))

    def _component(self, place: Place, spec: Any, path: KeyPath, supplied: Iterable[str] = ()) -> None:
        """Check `{type: Name, ...}` and the mappings inside it against the arguments of the class that it names.

        Args:
            supplied: arguments that the class gets from elsewhere, besides those of the place.
        """
        before = len(self.problems)
        target = self._named(place, spec, path)
        if target is None:
            return
        origin = TABLES[place.table].origin_of(target) if place.table else "plugin"
        arguments, own = class_keys(place, target, origin), place.own.keys
        arguments_in_file = [key for key in spec if key not in ("type", *own)]
        known = {*arguments.keys, *own}
        for key in arguments_in_file:
            if key in known:
                continue
            if arguments.is_open:
                self._open_key(path, key, known)
            else:
                self._say((*path, key), f"is not an argument of {spec['type']}{nearest(str(key), known)}")
        present = {*arguments_in_file, *supplied, *place.supplied, *own}
        missing = [name for name, key in arguments.keys.items() if key.is_required and name not in present]
        if missing:
            self._say(path, f"({spec['type']}) lacks {', '.join(missing)}")
        if origin == "basicsr" and place.table == "datasets":
            for key in sorted(name_source().dead_dataset_keys.get(target.__name__, ())):
                if spec.get(key) is not None:
                    self._warn((*path, key), f"has no effect with {spec['type']}, which does not read it")
        self._arguments(place, arguments, spec, path, {*arguments_in_file, *supplied, *place.supplied})
        if len(self.problems) == before and not any(place[: len(path)] == path for place in self.absent):
            if place.kind == "degradations":
                self._try_degradation(spec, path)
            elif place.kind == "archs":
                self._try_network(place, arguments, spec, path, supplied)

    def _try_network(
        self, place: Place, arguments: Keys, spec: Mapping[str, Any], path: KeyPath, supplied: Iterable[str]
    ) -> None:
        """Build a network, so that it checks its own values; not if the training method gives some of them."""
        from uir.config.trial_builds import RefusedError, try_network  # here, because it imports torch

        if any(key in arguments.keys and spec.get(key) is None for key in (*place.supplied, *supplied)):
            return
        if TABLES[place.table].origin_of(place.get(spec["type"])) == "uir":
            negative = [
                key for key, value in spec.items() if _holds(value, lambda item: type(item) is int and item < 0)
            ]
            for key in negative:  # uir's networks have only counts and sizes
                self._say((*path, key), f": expected no negative number, got {spec[key]!r}")
            if negative:
                return
        try:
            self.networks[path] = try_network(spec)
        except RefusedError as error:
            self._say(path, str(error))

    def _try_degradation(self, spec: Mapping[str, Any], path: KeyPath) -> None:
        """Build a degradation, so that it checks its own values."""
        try:
            build("degradations", spec)
        except (ValueError, OSError) as error:
            about = re.match(r"\w+\.(\w+)(?=: )", str(error))  # `Op.argument: what is wrong`
            if about and about[1] in spec:
                self._say((*path, about[1]), str(error)[about.end() :])
            else:
                self._say(path, f": {error}" if path else str(error))

    def _arguments(self, place: Place, arguments: Keys, spec: Any, path: KeyPath, supplied: set[str]) -> None:
        """Check the types of the arguments and the components in them, and make file names absolute."""
        for key, value in list(spec.items()):
            argument = arguments.keys.get(key)
            if key in PATH_KEYS or (argument and names_a_file(argument.annotation)):
                value = spec[key] = self._absolute(value, (*path, key))
            if argument is None or argument.annotation is Any:
                continue
            if value is None and (argument.default is None or key in place.supplied):
                continue  # the same as no value
            if parts_of(argument.node):
                self._within(argument.node, value, (*path, key), supplied)
            else:
                spec[key] = self._typed(argument.annotation, value, (*path, key))

    def _within(self, node: Node, value: Any, path: KeyPath, supplied: set[str]) -> None:
        """Check the components in an argument: one, a list or a mapping of them."""
        if isinstance(node, Place):
            self._component(node, value, path, supplied)
        elif isinstance(node, ListOf) and isinstance(value, list):
            for index, item in enumerate(value):
                self._within(node.item, item, (*path, index), supplied)
        elif isinstance(node, MappingOf) and isinstance(value, Mapping):
            for name, item in value.items():
                self._within(node.item, item, (*path, name), supplied)
        elif isinstance(node, Either):
            self._within(arm_for(node, value), value, path, supplied)
        elif isinstance(node, ListOf | MappingOf):  # one instead of several
            self._within(node.item, value, path, supplied)

    def _absolute(self, value: Any, path: KeyPath) -> Any:
        """A file name, or a list or mapping of them, made absolute from the root; other values are not changed."""
        if isinstance(value, list):
            return [self._absolute(item, path) for item in value]
        if isinstance(value, Mapping):
            return {key: self._absolute(item, (*path, key)) for key, item in value.items()}
        if not isinstance(value, str):
            return value
        if "\0" in value:
            self._say(path, f": no file can have the name {value!r}")
            return value
        file = self.root / home_expanded(value)
        if not file.exists():
            self.absent.setdefault(path, file)
        return str(file)

    def _typed(self, annotation: Any, value: Any, path: KeyPath) -> Any:
        """The value as the annotation wants it: `1e1` is the whole number 10 where one is expected."""
        validator = validator_of(annotation)
        if validator is None or not self._has_right_numbers(annotation, value, path):
            return value
        try:
            typed = validator.validate_python(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            self._say(path, type_message(first["type"], first["msg"], first["input"]))
            return value
        except (PydanticUserError, NameError, TypeError):
            return value  # the annotation says more than a validator can check; the constructor decides
        return typed if isinstance(typed, bool | int | float | str) else value

    def _has_right_numbers(self, annotation: Any, value: Any, path: KeyPath) -> bool:
        """Whether a value holds no `true` and no NaN where numbers are expected; else it is reported."""
        if _holds(value, lambda item: isinstance(item, bool)) and not _takes_truth(annotation):
            self._say(path, f": expected a number, got {value!r}")
        elif _holds(value, lambda item: isinstance(item, float) and item != item):
            self._say(path, f": should be a finite number, got {value!r}")
        else:
            return True
        return False

    def _named(self, place: Place, spec: Any, path: KeyPath) -> Any:
        if not isinstance(spec, Mapping):
            self._say(path, f": expected a mapping {{type: ..., ...}}, got {spec!r}")
            return None
        if not isinstance(spec.get("type"), str):
            self._say(path, f"lacks `type`, the name of the {place.noun}")
            return None
        try:
            return place.get(spec["type"])
        except UnknownNameError as error:
            self._say((*path, "type"), f": {error}")
            return None

    def _open_key(self, path: KeyPath, key: str, known: Iterable[str]) -> None:
        """Handle a key that a plugin may read: it is left to the plugin, and a likely typing mistake is pointed out."""
        self.unchecked.append(".".join(map(str, (*path, key))))
        near = nearest_names(str(key), known, count=1)
        if near and similar(str(key), near[0]):
            self._warn((*path, key), f"is left to the plugin, for uir does not know it; did you mean '{near[0]}'?")


def _holds(value: Any, is_it: Callable[[Any], bool]) -> bool:
    """Whether a value is something, or has it in its lists and mappings."""
    if isinstance(value, Mapping):
        return any(_holds(item, is_it) for item in value.values())
    return any(_holds(item, is_it) for item in value) if isinstance(value, list) else is_it(value)


def _takes_truth(annotation: Any) -> bool:
    """Whether `true` may be meant by a value of this annotation; text and numbers never are."""
    if get_origin(annotation) is Literal:
        return any(isinstance(choice, bool) for choice in get_args(annotation))
    inner = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    if inner:
        return any(_takes_truth(part) for part in inner)
    return annotation not in (int, float, str, Path, type(None), ...)
