"""Import paths of earlier versions that plugins may use; each leads to the module that replaced it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "uir.analysis.sheets": "uir.core.sheets",
    "uir.checkpoint": "uir.core.checkpoint",
    "uir.component_checks": "uir.config.component_checks",
    "uir.components": "uir.registry.components",
    "uir.degradations.dasr_vector": "uir.degradations.dasr_liang_vectoriser",
    "uir.degradations.vectorisers": "uir.degradations.record_vectoriser",
    "uir.inference.global_code": "uir.inference.code_predictor",
    "uir.layers.modulation": "uir.layers.code_modulator",
    "uir.data.images": "uir.core.images",
    "uir.distributed": "uir.core.distributed",
    "uir.files": "uir.core.files",
    "uir.models.schedulers": "uir.core.schedulers",
    "uir.options": "uir.config.options",
    "uir.plugins": "uir.registry.plugins",
    "uir.precision": "uir.core.precision",
    "uir.progress": "uir.core.progress",
    "uir.schema": "uir.config.schema",
    "uir.registry.listing": "uir.cli.listing",
    "uir.seeds": "uir.core.seeds",
    "uir.stages": "uir.config.stages",
    "uir.yaml_file": "uir.config.yaml_file",
}


class _Alias(Loader):
    """Gives the module that replaced another."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module itself, not a copy: its classes are the same under both names."""
        module = importlib.import_module(MOVED[spec.name])
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Only restore the module's spec: it has run already, and the import system gave it the old name's spec."""
        module.__spec__ = self._own


class _MovedModules(MetaPathFinder):
    """Finds the names of `MOVED`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for an old name; None for any other."""
        return ModuleSpec(fullname, _Alias()) if fullname in MOVED else None


def find_moved_modules() -> None:
    """Make the old names importable."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())
