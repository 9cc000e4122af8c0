"""The one package that knows about basicsr's and torchvision's age, and about other toolboxes' option files.

`prepare()` makes torchvision, timm and basicsr importable beside today's torch; `load_basicsr()` enters the bridge to
basicsr; `basicsr_names()` lists what basicsr registers without importing it. `import uir` lends basicsr's names to the
registries and the dialects to the reader of option files (`lend`). Importing this package loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from uir.compat.basicsr_source import basicsr_names
from uir.compat.bridge import BasicSRMissingError, basicsr_registry, load_basicsr, loaded_basicsr_registry
from uir.compat.imports import prepare
from uir.compat.moved import find_moved_modules
from uir.compat.option_keys import DATASET_KEYS, MODEL_KEYS
from uir.config.dialects import register_dialect
from uir.registry.sources import NameSource, set_name_source

if TYPE_CHECKING:
    from uir.config.dialects import Translation
    from uir.config.yaml_file import KeyPath, Mark

__all__ = [
    "BasicSRMissingError",
    "basicsr_names",
    "basicsr_registry",
    "lend",
    "load_basicsr",
    "loaded_basicsr_registry",
    "prepare",
]


class BasicSRNames(NameSource):
    """basicsr's names, for the registries."""

    dataset_keys = DATASET_KEYS
    model_keys = MODEL_KEYS

    def prepare(self) -> None:
        """Make what a plugin may import importable."""
        prepare()

    def names(self) -> Mapping[str, Mapping[str, tuple[str, str]]]:
        """As `basicsr_names`."""
        return basicsr_names()

    def objects(self, registry: str) -> Mapping[str, Any]:
        """As `basicsr_registry`."""
        return basicsr_registry(registry)

    def loaded_objects(self, registry: str) -> Mapping[str, Any]:
        """As `loaded_basicsr_registry`."""
        return loaded_basicsr_registry(registry)


def _dcpt(raw: Mapping[str, Any], marks: Mapping[KeyPath, Mark]) -> Translation | None:
    from uir.compat.dcpt_dialect import translate

    return translate(raw, marks)


def _forks(raw: Mapping[str, Any], marks: Mapping[KeyPath, Mark]) -> Translation | None:
    from uir.compat.fork_keys import translate

    return translate(raw, marks)


def lend() -> None:
    """Give the registries basicsr's names, the reader of option files the dialects, and old import paths a place."""
    find_moved_modules()
    set_name_source(BasicSRNames())
    register_dialect(_dcpt)
    register_dialect(_forks)
