"""Training methods, and the tree of the option files that each of them reads."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from uir.config.named_keys import compose, says_its_name
from uir.config.roles import Role
from uir.config.schema import Options, TrainOptions
from uir.config.spec import PLACES, Either, Key, Keys, Node, node_of, parts_of, section_keys
from uir.registry import MODEL_REGISTRY, Entry, Origin, first_line
from uir.registry.components import signature_of
from uir.registry.sources import ModelKeys, name_source

METHOD_SECTIONS = ("path", "train", "val")
"""The sections that a training method may add keys to, besides the top level of the file."""


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        label: its name, with the origin in front (`basicsr:`) if another method has the plain name.
        forms: the names that `model_type` may use for it.
        summary: first line of its docstring.
        target: its class; None for a method of basicsr, because basicsr is not imported for a description.
        schema: the typed sections of its files.
        file: the tree of its files.
        roles: its networks; empty for a model written like BasicSR's.
        extra: keys by section ("" is the top level) that it declares besides those of the schema.
        is_foreign: whether it is a model written like BasicSR's, which does its whole step itself.
    """

    label: str
    forms: tuple[str, ...]
    summary: str
    target: Any
    schema: type[Options]
    file: Keys
    roles: Mapping[str, Role]
    extra: Mapping[str, frozenset[str]]
    is_foreign: bool

    def section(self, name: str) -> Keys:
        """The keys of a section of the file."""
        return keys_within(self.file.keys[name].node)

    def required_optimizers(self, networks: Iterable[str], is_train: bool | None) -> dict[str, str]:
        """The optimizers that a training file needs, each with its network.

        Args:
            networks: the networks of the file, as keys (`network_g`).
            is_train: as in `Role.is_required`.
        """
        return {
            f"optim_{role}": f"network_{role}"
            for role, network in self.roles.items()
            if network.trained and (network.is_required(is_train) or f"network_{role}" in networks)
        }


def is_training_method(target: Any) -> bool:
    """Whether a registered model can be run: it is written like BasicSR's, or derives from uir's base class."""
    return signature_of(target).takes_opt or hasattr(target, "network_roles")


def method_of(name: str, is_train: bool | None = None) -> Method:
    """A training method by its name.

    Args:
        name: a value of `model_type`.
        is_train: whether its files are for training or for testing; None if they may be either.

    Raises:
        UnknownNameError: no training method has this name.
    """
    target = MODEL_REGISTRY.get(name)
    return _method(name, (name,), target, is_train)


def train_keys_of(model_type: Any) -> Keys:
    """The keys of `train` for a training method; those that every method has where there is none of this name."""
    target = MODEL_REGISTRY.get(model_type) if model_type in MODEL_REGISTRY else None
    is_known = target is not None and is_training_method(target)
    return method_of(model_type).section("train") if is_known else section_keys(TrainOptions)


def training_methods(model_type: str | None = None) -> list[Method]:
    """All training methods, or those that `model_type` names. basicsr's are described without importing it.

    Raises:
        UnknownNameError: no training method has this name.
    """
    methods = []
    for entry in MODEL_REGISTRY.entries():
        for origin, forms in forms_of(entry).items():
            if model_type not in (None, *forms):
                continue
            if origin == "basicsr":
                row = name_source().model_keys.get(entry.name)
                methods.append(_foreign(forms[0], tuple(forms), entry.summary, None, row, row is None, ()))
            elif is_training_method(MODEL_REGISTRY.get(forms[0])):
                method = _method(forms[0], tuple(forms), MODEL_REGISTRY.get(forms[0]), None)
                methods.append(replace(method, summary=entry.summary))
    if not methods:
        MODEL_REGISTRY.get(str(model_type))  # raises, and gives the nearest names
    return methods


def forms_of(entry: Entry) -> dict[Origin, list[str]]:
    """The ways to write a registered name in a file, for each origin that has it."""
    origins: tuple[Any, ...] = (entry.origin, *entry.shadows)
    forms: dict[Origin, list[str]] = {origin: [] for origin in origins}
    forms[entry.origin].append(entry.name)
    for origin, written in forms.items():
        if origin != "plugin":
            written.append(f"{origin}:{entry.name}")
    return forms


def file_of_unknown_method(is_open: bool) -> Keys:
    """The tree of a file whose training method is not known; `is_open` if the file names one that does not exist."""
    return _file(Options, {}, {}, is_open, False)


def keys_within(node: Node) -> Keys:
    """The mapping with known keys that a node is, or that it allows besides null."""
    return next(part for part in parts_of(node) if isinstance(part, Keys))


def _method(name: str, forms: tuple[str, ...], target: Any, is_train: bool | None) -> Method:
    if signature_of(target).takes_opt:
        declared = getattr(target, "option_keys", None)
        row = _row_of(target)
        origin = MODEL_REGISTRY.origin_of(target)
        is_open = declared is None if origin == "plugin" else origin == "basicsr" and row is None
        return _foreign(name, forms, first_line(target), target, row, is_open, declared or ())
    roles: Mapping[str, Role] = target.network_roles
    required = [role for role, network in roles.items() if network.is_required(is_train)]
    whole = target.file_options
    schema = compose(roles, target.train_options, target.loss_slots, required, own=True, file_options=whole)
    file = _file(schema, {}, roles, False, bool(getattr(target, "open_losses", False)))
    return Method(name, forms, first_line(target), target, schema, file, roles, {}, is_foreign=False)


def _foreign(
    name: str,
    forms: tuple[str, ...],
    summary: str,
    target: Any,
    row: ModelKeys | None,
    is_open: bool,
    declared: Iterable[str],
) -> Method:
    """A model written like BasicSR's; the keys that it declares itself have the form `train.key`."""
    row = row or ModelKeys()
    path = {"ignore_resume_networks"}
    extra = {"": set(row.root), "path": path, "train": set(row.train), "val": set(row.val)}
    for key in declared:
        section, _, leaf = key.rpartition(".")
        extra.setdefault(section, set()).add(leaf)
    schema = compose(row.roles, losses=row.losses)
    frozen = {section: frozenset(keys) for section, keys in extra.items()}
    file = _file(schema, frozen, {}, is_open, False)
    return Method(name, forms, summary, target, schema, file, {}, frozen, is_foreign=True)


def _row_of(target: Any) -> ModelKeys | None:
    """The table's row for a basicsr model, or for a plugin's model that derives from one; None if there is no row."""
    for cls in inspect.getmro(target) if inspect.isclass(target) else ():
        if cls.__module__.startswith("basicsr.") and cls.__name__ in name_source().model_keys:
            return name_source().model_keys[cls.__name__]
    return None


def _file(
    schema: type[Options],
    extra: Mapping[str, Iterable[str]],
    roles: Mapping[str, Role],
    is_open: bool,
    has_open_losses: bool,
) -> Keys:
    """The tree of a file: the sections of its schema, each with the keys that the training method adds."""
    whole = _widened(section_keys(schema), extra.get("", ()), "", is_open)
    for role, network in roles.items():
        key = whole.keys[f"network_{role}"]
        supplied = replace(PLACES["archs"], supplied=frozenset(network.supplied))
        whole.keys[f"network_{role}"] = replace(key, node=_with(key.node, supplied))
    for name, key in list(whole.keys.items()):
        if name in METHOD_SECTIONS or extra.get(name):
            section = _widened(keys_within(key.node), extra.get(name, ()), name, is_open and name in METHOD_SECTIONS)
            section = replace(section, has_open_losses=has_open_losses and name == "train")
            whole.keys[name] = replace(key, node=_with(key.node, section))
    return whole


def _widened(keys: Keys, extra: Iterable[str], section: str, is_open: bool) -> Keys:
    """The keys and further ones; the type of a further key follows from its name, if at all."""
    added = {key: Key(node_of(says_its_name(key, section) or Any)) for key in sorted(set(extra) - set(keys.keys))}
    return replace(keys, keys=keys.keys | added, is_open=is_open)


def _with(node: Node, part: Node) -> Node:
    """A node whose mapping or place is replaced by `part`."""
    return Either(tuple(part if parts_of(arm) else arm for arm in node.arms)) if isinstance(node, Either) else part
