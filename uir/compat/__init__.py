"""Everything that depends on basicsr, on old torchvision versions, and on other toolboxes' option files.

`prepare()` makes torchvision, timm and basicsr importable with today's torch. `load_basicsr()` imports basicsr and
connects it to uir. `basicsr_names()` lists the names that basicsr registers without importing it. `import uir` calls
`lend()`, which gives basicsr's names to the registries and the dialects to the reader of option files, and lets the
first import of those packages call `prepare()`. Importing this package does not load torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from uir.compat.basicsr_source import basicsr_names
from uir.compat.bridge import BasicSRMissingError, basicsr_registry, load_basicsr, loaded_basicsr_registry
from uir.compat.fork_classes import OWNERS
from uir.compat.imports import prepare, prepare_at_first_import
from uir.compat.moved import find_moved_modules
from uir.compat.option_keys import DATASET_KEYS, DEAD_DATASET_KEYS, MODEL_KEYS
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
    dead_dataset_keys = DEAD_DATASET_KEYS
    model_keys = MODEL_KEYS

    def owner_of(self, name: str) -> str:
        """As `fork_classes.OWNERS`."""
        return OWNERS.get(name, "")

    def prepare(self) -> None:
        """Make the packages importable that a plugin may import."""
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


def _dasr_liang(raw: Mapping[str, Any], marks: Mapping[KeyPath, Mark]) -> Translation | None:
    from uir.compat.dasr_liang_keys import translate

    return translate(raw, marks)


def _forks(raw: Mapping[str, Any], marks: Mapping[KeyPath, Mark]) -> Translation | None:
    from uir.compat.fork_keys import translate

    return translate(raw, marks)


def lend() -> None:
    """Give basicsr's names to the registries and the dialects to the reader; keep old import paths valid."""
    prepare_at_first_import()
    find_moved_modules()
    set_name_source(BasicSRNames())
    register_dialect(_dcpt)
    register_dialect(_dasr_liang)
    register_dialect(_forks)
