"""Where names come from that neither uir nor a plugin registered: basicsr, told from outside by `uir.compat`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelKeys:
    """What a model in BasicSR's manner reads beside the keys that every file has.

    Attributes:
        roles: roles of its networks.
        losses: its loss slots under `train`.
        train, val, root: its further keys in those sections.
    """

    roles: tuple[str, ...] = ("g",)
    losses: tuple[str, ...] = ("pixel_opt", "perceptual_opt")
    train: frozenset[str] = frozenset()
    val: frozenset[str] = frozenset()
    root: frozenset[str] = frozenset()


class NameSource:
    """A package whose names can be used in option files; this one has none.

    Attributes:
        dataset_keys: the option keys of its dictionary datasets, by class name.
        model_keys: those of its models.
    """

    dataset_keys: Mapping[str, frozenset[str]] = {}
    model_keys: Mapping[str, ModelKeys] = {}

    def prepare(self) -> None:
        """Called before a plugin is imported, which may import the package."""

    def names(self) -> Mapping[str, Mapping[str, tuple[str, str]]]:
        """`{registry: {name: (module, summary)}}` without importing the package."""
        return {}

    def objects(self, registry: str) -> Mapping[str, Any]:
        """What one of its registries holds; imports the package."""
        return {}

    def loaded_objects(self, registry: str) -> Mapping[str, Any]:
        """The same, but empty as long as nobody has imported the package."""
        return {}


_source = NameSource()


def set_name_source(source: NameSource) -> None:
    """Let names be looked up in a package too, after the plugins' and uir's own."""
    global _source
    _source = source


def name_source() -> NameSource:
    """The package whose names are looked up last."""
    return _source
