"""A tree that describes what an option file may contain.

Its nodes are made from annotations: those of the typed sections (`uir.config.schema`) and those of the constructors of
registered classes. The checker, the JSON Schema for editors and the option reference in the docs all use it.
`uir.config.methods` gives the tree of a whole file.

    Keys        a mapping with known keys: a section, or the arguments of a class
    Place       `{type: Name, argument: value, ...}`, one of the classes of a registry or a small table
    ListOf, MappingOf, Either   nodes that contain others
    Leaf        any other value, by its annotation
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter

from uir.config.named_keys import says_its_name
from uir.config.problems import nearest
from uir.config.schema import (
    Component,
    DatasetOptions,
    LossOptions,
    MetricOptions,
    NetworkOptions,
    ObserverOptions,
    OptimOptions,
    SchedulerOptions,
    Section,
    VectoriserOptions,
)
from uir.registry import TABLES, UnknownNameError, first_line
from uir.registry.components import Nested, signature_of
from uir.registry.sources import name_source

MISSING = inspect.Parameter.empty
"""The default of a key whose default is not known."""
_LISTS = (list, tuple, Sequence, Iterable)
_MAPPINGS = (dict, Mapping)


@dataclass(frozen=True)
class Leaf:
    """A value that no node describes further; `annotation` includes its limits."""

    annotation: Any


@dataclass(frozen=True)
class ListOf:
    """A list."""

    item: Node


@dataclass(frozen=True)
class MappingOf:
    """A mapping with keys of any name."""

    item: Node


@dataclass(frozen=True)
class Either:
    """A value that one of several nodes describes."""

    arms: tuple[Node, ...]


@dataclass(frozen=True)
class Place:
    """A place for `{type: Name, ...}`.

    Attributes:
        kind: its name, a key of `PLACES`.
        table: key of `TABLES`; empty for torch's classes.
        section: the section whose keys are written next to the arguments of the class, but do not belong to it.
        hidden: arguments that are not options.
        supplied: arguments that the rest of the file or the training method gives.
    """

    kind: str
    table: str
    section: type[Section]
    hidden: frozenset[str] = frozenset()
    supplied: frozenset[str] = frozenset()

    @property
    def noun(self) -> str:
        """The word for one object of this place, such as `loss`."""
        return TABLES[self.table].kind if self.table else self.kind[:-1]

    @property
    def own(self) -> Keys:
        """The keys besides `type` that every class at this place has, independent of its arguments."""
        keys = section_keys(self.section)
        return Keys(keys.name, keys.text, {name: key for name, key in keys.keys.items() if name != "type"})

    def get(self, name: str) -> Any:
        """The class with a name.

        Raises:
            UnknownNameError: no class has this name; the message gives the nearest names.
        """
        if self.table:
            return TABLES[self.table].get(name)
        from uir.config import optimizers  # here, because it imports torch

        try:
            return optimizers.optimizer_class(name) if self.kind == "optimizers" else optimizers.scheduler_class(name)
        except ValueError as error:
            raise UnknownNameError(f"{error}{nearest(name, self.torch_classes())}") from None

    def torch_classes(self) -> dict[str, Any]:
        """The classes of a place without a table, by name."""
        from uir.config import optimizers

        return optimizers.optimizer_names() if self.kind == "optimizers" else optimizers.scheduler_names()


@dataclass(frozen=True)
class Key:
    """A key of a mapping.

    Attributes:
        node: what its value may be.
        annotation: the same as a Python type.
        default: its value if the file does not have it; `MISSING` if it is not known.
        is_required: whether a file must have it.
        text: its description in a section; arguments of classes are described in docstrings.
    """

    node: Node
    annotation: Any = Any
    default: Any = MISSING
    is_required: bool = False
    text: str = ""


@dataclass(frozen=True)
class Keys:
    """A mapping with known keys.

    Attributes:
        name: the name of the section or class.
        text: its description, in one line.
        keys: its keys, in order.
        module: the module of the section or class.
        is_open: whether other keys are allowed, because it belongs to a plugin that does not declare its keys.
        has_open_losses: whether any other key `<name>_opt` is a loss.
    """

    name: str
    text: str
    keys: dict[str, Key] = field(default_factory=dict)
    module: str = ""
    is_open: bool = False
    has_open_losses: bool = False


Node = Union[Leaf, ListOf, MappingOf, Either, Place, Keys]  # noqa: UP007  # the classes use the name above

_FROM_FILE = frozenset({"phase", "scale", "name"})
PLACES = {
    place.kind: place
    for place in (
        Place("archs", "archs", NetworkOptions),
        Place("losses", "losses", LossOptions),
        Place("metrics", "metrics", MetricOptions, hidden=frozenset({"img", "img2", "restored", "gt"})),
        Place("observers", "observers", ObserverOptions),
        Place("vectorisers", "vectorisers", VectoriserOptions, hidden=frozenset({"labels"})),
        Place("degradations", "degradations", Component),
        Place("datasets", "datasets", DatasetOptions, supplied=_FROM_FILE),
        Place("tasks", "datasets", Component, supplied=_FROM_FILE),  # datasets within a dataset
        Place("optimizers", "", OptimOptions, hidden=frozenset({"params"})),
        Place("schedulers", "", SchedulerOptions, hidden=frozenset({"optimizer", "last_epoch"})),
    )
}


def node_of(annotation: Any, metadata: Sequence[Any] = (), key: str = "") -> Node:
    """The node of the values that an annotation allows.

    Args:
        annotation: a resolved annotation.
        metadata: limits for the whole value, as in `Annotated`.
        key: the key of the value; the place of a plain `Component` follows from it.
    """
    for mark in (*metadata, *getattr(annotation, "__metadata__", ())):
        if isinstance(mark, Nested):
            return PLACES["tasks" if mark.registry == "datasets" else mark.registry]
    if inspect.isclass(annotation) and issubclass(annotation, Section):
        return _section_node(annotation, key)
    inner = [node_of(argument, key=key) for argument in get_args(annotation)]
    if all(isinstance(node, Leaf) for node in inner):
        return Leaf(Annotated[(annotation, *metadata)] if metadata else annotation)
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return Either(tuple(inner))
    if origin is Annotated:
        return inner[0]
    if origin in _LISTS:
        return ListOf(inner[0])
    return MappingOf(inner[-1]) if origin in _MAPPINGS else Leaf(Any)


def _section_node(section: type[Section], key: str) -> Node:
    if section is Component:
        for part in ("", "train"):
            named = says_its_name(key, part)
            if named is not None:
                return parts_of(node_of(named))[0]
    return PLACES[section.place] if section.place else section_keys(section)


@functools.cache
def section_keys(section: type[Section]) -> Keys:
    """The keys of a typed section."""
    keys: dict[str, Key] = {}
    for key, info in section.model_fields.items():
        node = node_of(info.annotation, info.metadata, key)
        texts = [part.text if isinstance(part, Keys) else first_line(part.section) for part in parts_of(node)]
        default = MISSING if info.is_required() else info.get_default(call_default_factory=True)
        text = info.description or next(iter(texts), "")
        keys[key] = Key(node, info.annotation, default, info.is_required(), text)
    return Keys(section.__name__, first_line(section), keys, section.__module__)


def class_keys(place: Place, target: Any, origin: str = "") -> Keys:
    """The arguments of a registered class or function, and the keys that it declares besides them.

    Args:
        place: the place where it is named.
        target: the class or function.
        origin: where it came from; a plugin that declares no `option_keys` may read unknown keys.
    """
    signature = signature_of(target)
    declared = getattr(target, "option_keys", None)
    names = set(declared or ())
    if signature.takes_opt:
        names |= name_source().dataset_keys.get(target.__name__, frozenset())
    arguments = _arguments(target)
    keys = {name: key for name, key in arguments.items() if name not in place.hidden}
    keys |= {name: Key(Leaf(Any)) for name in sorted(names - set(keys))}
    from_outside = origin == "plugin" if place.table else True
    is_open = from_outside and declared is None and (signature.open or (signature.takes_opt and bool(place.table)))
    if signature.takes_opt:  # it reads a dictionary, and reports missing keys itself
        keys = {name: replace(key, is_required=False) for name, key in keys.items()}
    return Keys(target.__name__, first_line(target), keys, target.__module__, is_open)


@functools.cache
def _arguments(target: Any) -> dict[str, Key]:
    namespace = getattr(target.__init__ if inspect.isclass(target) else target, "__globals__", {})
    keys: dict[str, Key] = {}
    for name, parameter in signature_of(target).parameters.items():
        annotation = Any if parameter.annotation is MISSING else resolved(parameter.annotation, namespace)
        keys[name] = Key(node_of(annotation), annotation, parameter.default, parameter.default is MISSING)
    return keys


def resolved(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    """The type for an annotation that is a string, by the names of its module; `Any` if a name is not there."""
    if not isinstance(annotation, str):
        return annotation
    holder = type("Holder", (), {"__annotations__": {"value": annotation}})
    try:
        return typing.get_type_hints(holder, dict(namespace), include_extras=True)["value"]
    except (NameError, TypeError, SyntaxError, AttributeError):
        return Any


def parts_of(node: Node) -> list[Keys | Place]:
    """The mappings and places in a node, including those inside its lists and mappings."""
    if isinstance(node, Keys | Place):
        return [node]
    if isinstance(node, Leaf):
        return []
    return [part for inner in (node.arms if isinstance(node, Either) else (node.item,)) for part in parts_of(inner)]


def arm_for(node: Either, value: Any) -> Node:
    """The one of several nodes that a value is most likely meant for: the first whose outer form it has."""
    arms = [arm for arm in node.arms if parts_of(arm)]
    for arm in arms:
        expected = list if isinstance(arm, ListOf) else Mapping
        if isinstance(value, expected):
            return arm
    return next((arm for arm in node.arms if isinstance(arm, Leaf) and arm.annotation is not type(None)), arms[0])


def validator_of(annotation: Any) -> TypeAdapter[Any] | None:
    """What decides about the values of an annotation; None where the annotation says more than can be checked."""
    try:
        return _validator(annotation)
    except Exception:  # pydantic and typing have many ways to say that an annotation is none of theirs
        return None


@functools.cache
def _validator(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))


def names_a_file(annotation: Any) -> bool:
    """Whether a value may be a path."""
    return annotation is Path or any(names_a_file(inner) for inner in get_args(annotation))
