"""Training methods, and the keys that each adds to an option file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from uir.config.checks import is_training_method, schema_of
from uir.config.schema import Options, compose
from uir.registry import MODEL_REGISTRY, Entry, Origin
from uir.registry.components import signature_of
from uir.registry.sources import ModelKeys, name_source


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        label: what its definitions are called.
        forms: how `model_type` may name it.
        summary: first line of its docstring.
        schema: the typed file.
        networks: keys that a file must hold.
        optimizers: keys that `train` must hold.
        extra: further keys by section ("" is the file itself).
        is_open: whether it may read keys that nobody knows.
        open_losses: whether any `<name>_opt` under `train` is a loss.
    """

    label: str
    forms: list[str]
    summary: str
    schema: type[Options]
    networks: list[str]
    optimizers: list[str]
    extra: dict[str, set[str]]
    is_open: bool
    open_losses: bool


def training_methods(model_type: str | None = None) -> list[Method]:
    """All training methods, or the one that `model_type` names.

    Raises:
        UnknownNameError: there is none of this name.
    """
    named = [(entry, *item) for entry in MODEL_REGISTRY.entries() for item in forms_of(entry).items()]
    found = [
        _method(entry, origin, forms)
        for entry, origin, forms in named
        if model_type in (None, *forms) and (origin == "basicsr" or is_training_method(MODEL_REGISTRY.get(forms[0])))
    ]
    if not found:
        MODEL_REGISTRY.get(str(model_type))  # raises, and gives the nearest names
    return found


def forms_of(entry: Entry) -> dict[Origin, list[str]]:
    """How a registered name can be written in a file, for each origin that holds it."""
    origins: tuple[Any, ...] = (entry.origin, *entry.shadows)
    forms: dict[Origin, list[str]] = {origin: [] for origin in origins}
    forms[entry.origin].append(entry.name)
    for origin, written in forms.items():
        if origin != "plugin":
            written.append(f"{origin}:{entry.name}")
    return forms


def _method(entry: Entry, origin: Origin, forms: list[str]) -> Method:
    name = forms[0]
    if origin == "basicsr":
        row = name_source().model_keys.get(entry.name)
        is_open = row is None  # its keys would have to be read from its source
        row = row or ModelKeys()
        schema = compose(row.roles, losses=row.losses)
        return Method(name, forms, entry.summary, schema, [], [], _extra(row, ()), is_open, is_open)
    target, schema = MODEL_REGISTRY.get(name), schema_of(name)
    if signature_of(target).takes_opt:
        row = next((name_source().model_keys[cls.__name__] for cls in target.__mro__ if _has_row(cls)), ModelKeys())
        declared = getattr(target, "option_keys", None)
        is_open = origin == "plugin" and declared is None
        return Method(name, forms, entry.summary, schema, [], [], _extra(row, declared or ()), is_open, is_open)
    roles = {role: held for role, held in target.network_roles.items() if held.is_required(None)}
    networks = [f"network_{role}" for role in roles]
    optimizers = [f"optim_{role}" for role, held in roles.items() if held.trained]
    open_losses = bool(getattr(target, "open_losses", False))
    return Method(name, forms, entry.summary, schema, networks, optimizers, {}, False, open_losses)


def _has_row(cls: type) -> bool:
    return cls.__module__.startswith("basicsr.") and cls.__name__ in name_source().model_keys


def _extra(row: ModelKeys, declared: Iterable[str]) -> dict[str, set[str]]:
    """Keys of a model in BasicSR's manner; those it declares itself are written `train.key`."""
    extra = {"": set(row.root), "train": set(row.train), "val": set(row.val)}
    for key in declared:
        section, _, leaf = key.rpartition(".")
        extra.setdefault(section, set()).add(leaf)
    return extra
