"""Training methods, and the tree of the files that each of them reads."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from uir.config.roles import Role
from uir.config.schema import Options, TrainOptions, compose, says_its_name
from uir.config.spec import PLACES, Either, Key, Keys, Node, node_of, parts_of, section_keys
from uir.registry import MODEL_REGISTRY, Entry, Origin, first_line
from uir.registry.components import signature_of
from uir.registry.sources import ModelKeys, name_source

METHOD_SECTIONS = ("path", "train", "val")
"""The sections that a training method may add keys to, beside the file itself."""


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        label: its name, with the forced origin where another method has the plain name.
        forms: how `model_type` may name it.
        summary: first line of its docstring.
        target: its class; None for one of basicsr, which is not imported to be described.
        schema: the typed file.
        file: the tree of the file.
        roles: its networks; empty for a model in BasicSR's manner.
        extra: keys by section ("" is the file itself) that it declares beside those of the schema.
        is_foreign: whether it is a model in BasicSR's manner, which does its whole step itself.
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

    def required_optimizers(self, given: Iterable[str], is_train: bool | None) -> dict[str, str]:
        """The optimizers that a training file needs, each with its network.

        Args:
            given: the networks of the file.
            is_train: as in `Role.is_required`.
        """
        return {
            f"optim_{role}": f"network_{role}"
            for role, network in self.roles.items()
            if network.trained and (network.is_required(is_train) or f"network_{role}" in given)
        }


def is_training_method(target: Any) -> bool:
    """Whether a registered model can be run: in BasicSR's manner, or derived from uir's base class."""
    return signature_of(target).takes_opt or hasattr(target, "network_roles")


def method_of(name: str, is_train: bool | None = None) -> Method:
    """A training method by its name.

    Args:
        name: as `model_type` gives it.
        is_train: for files of training or of testing; None for files that may be either.

    Raises:
        UnknownNameError: there is none of this name.
    """
    target = MODEL_REGISTRY.get(name)
    return _method(name, (name,), target, is_train)


def train_keys_of(model_type: Any) -> Keys:
    """The keys of `train` for a training method; those that every method has where there is none of this name."""
    target = MODEL_REGISTRY.get(model_type) if model_type in MODEL_REGISTRY else None
    is_known = target is not None and is_training_method(target)
    return method_of(model_type).section("train") if is_known else section_keys(TrainOptions)


def training_methods(model_type: str | None = None) -> list[Method]:
    """All training methods, or the one that `model_type` names. basicsr's are described without importing it.

    Raises:
        UnknownNameError: there is none of this name.
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
    """How a registered name can be written in a file, for each origin that holds it."""
    origins: tuple[Any, ...] = (entry.origin, *entry.shadows)
    forms: dict[Origin, list[str]] = {origin: [] for origin in origins}
    forms[entry.origin].append(entry.name)
    for origin, written in forms.items():
        if origin != "plugin":
            written.append(f"{origin}:{entry.name}")
    return forms


def file_of_unknown_method(is_open: bool) -> Keys:
    """The tree of a file whose training method is not known; `is_open` where it has a name that nobody knows."""
    return _file(Options, {}, {}, is_open, False)


def keys_within(node: Node) -> Keys:
    """The mapping with known keys that a node is, or allows beside null."""
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
    schema = compose(roles, target.train_options, target.loss_slots, required, own=True)
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
    """A model in BasicSR's manner; keys that it declares itself are written `train.key`."""
    row = row or ModelKeys()
    extra = {"": set(row.root), "train": set(row.train), "val": set(row.val)}
    for key in declared:
        section, _, leaf = key.rpartition(".")
        extra.setdefault(section, set()).add(leaf)
    schema = compose(row.roles, losses=row.losses)
    frozen = {section: frozenset(keys) for section, keys in extra.items()}
    file = _file(schema, frozen, {}, is_open, False)
    return Method(name, forms, summary, target, schema, file, {}, frozen, is_foreign=True)


def _row_of(target: Any) -> ModelKeys | None:
    """The table's row for a basicsr model, or a plugin's model that derives from one; None where it has none."""
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
    """The tree of a file: the sections of its schema, each with the keys that the method adds."""
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
    """Keys and further ones, of which only what their names tell is known."""
    added = {key: Key(node_of(says_its_name(key, section) or Any)) for key in sorted(set(extra) - set(keys.keys))}
    return replace(keys, keys=keys.keys | added, is_open=is_open)


def _with(node: Node, part: Node) -> Node:
    """A node with another mapping or place in it."""
    return Either(tuple(part if parts_of(arm) else arm for arm in node.arms)) if isinstance(node, Either) else part
