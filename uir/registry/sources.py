"""Names from a package other than uir and the plugins: basicsr, connected from outside by `uir.compat`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelKeys:
    """The option keys that a model written like BasicSR's reads, in addition to the general keys.

    Attributes:
        roles: roles of its networks.
        losses: its loss slots under `train`.
        train, val, root: its further keys in those sections.
        dead: keys that have no effect with it although every method has them, in the form `train.ema_decay`.
    """

    roles: tuple[str, ...] = ("g",)
    losses: tuple[str, ...] = ("pixel_opt", "perceptual_opt")
    train: frozenset[str] = frozenset()
    val: frozenset[str] = frozenset()
    root: frozenset[str] = frozenset()
    dead: frozenset[str] = frozenset()


class NameSource:
    """A package whose names can be used in option files; this one has none.

    Attributes:
        dataset_keys: the option keys of its dictionary datasets, by class name.
        dead_dataset_keys: those of them that a class does not read.
        model_keys: those of its models.
    """

    dataset_keys: Mapping[str, frozenset[str]] = {}
    dead_dataset_keys: Mapping[str, frozenset[str]] = {}
    model_keys: Mapping[str, ModelKeys] = {}

    def owner_of(self, name: str) -> str:
        """The toolbox that a class of this name is known to come from, if it has to be plugged in; else empty."""
        return ""

    def prepare(self) -> None:
        """Called before a plugin is imported, because the plugin may import the package."""

    def names(self) -> Mapping[str, Mapping[str, tuple[str, str]]]:
        """`{registry: {name: (module, summary)}}` without importing the package."""
        return {}

    def objects(self, registry: str) -> Mapping[str, Any]:
        """The content of one of its registries; this imports the package."""
        return {}

    def loaded_objects(self, registry: str) -> Mapping[str, Any]:
        """The same, but empty if nothing has imported the package yet."""
        return {}


_source = NameSource()


def set_name_source(source: NameSource) -> None:
    """Use a package's names too, after those of the plugins and of uir."""
    global _source
    _source = source


def name_source() -> NameSource:
    """The package whose names are looked up last."""
    return _source
