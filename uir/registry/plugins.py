"""Plugins: the user's own modules, imported before the first name is looked up.

A plugin is a module name (`my_pkg.archs`), a file (`./my_arch.py`) or a folder of files. uir only imports it: option
files can then name what it registers, in uir's registries or in basicsr's.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from importlib.metadata import entry_points
from pathlib import Path

from uir.core.files import home_expanded
from uir.registry.sources import name_source

_imported: dict[str, str] = {}  # imported file or module -> the name that the user gave
_entry_points_loaded = False


class PluginError(ImportError):
    """A plugin could not be imported; the message names it and the cause."""


def imported_plugins() -> list[str]:
    """The plugins imported so far, by the names that the user gave."""
    return list(dict.fromkeys(_imported.values()))


def is_file_plugin(spec: str) -> bool:
    """Whether a plugin is named by a path, not by a module name."""
    return spec.endswith(".py") or "/" in spec or "\\" in spec or spec in (".", "..")


def load_plugin(spec: str, folder: Path | None = None, named_in: str = "") -> None:
    """Import one plugin, once.

    Args:
        spec: a dotted module name, or a path to a `.py` file or to a folder of them.
        folder: the start of a relative path; default the current folder.
        named_in: the place where the plugin was named, for messages.

    Raises:
        PluginError: it does not exist, or importing it failed.
    """
    name_source().prepare()
    place = f" (named in {named_in})" if named_in else ""
    if is_file_plugin(spec):
        path = (Path(folder or ".") / home_expanded(spec)).resolve()
        if not path.exists():
            raise PluginError(f"plugin '{spec}'{place}: there is no file {path}")
        files = sorted(path.glob("*.py")) if path.is_dir() else [path]
        if not files:
            raise PluginError(f"plugin '{spec}'{place}: there is no .py file in {path}")
        for file in files:
            _import_file(file, spec, place)
    elif spec not in _imported:
        try:
            _import_module(spec, folder)
        except Exception as error:
            raise PluginError(f"plugin '{spec}'{place} failed to import: {_cause(error)}") from error
        _imported[spec] = spec


GROUP = "uir.plugins"
"""The entry-point group of installed packages that bring plugins."""


def load_installed_plugins() -> None:
    """Import the packages of the entry-point group `uir.plugins`, once.

    Raises:
        PluginError: one of them failed to import.
    """
    global _entry_points_loaded
    if _entry_points_loaded:
        return
    _entry_points_loaded = True
    for point in entry_points(group=GROUP):
        load_plugin(point.value.partition(":")[0], named_in=f"entry point '{point.name}' of group {GROUP}")


def _import_module(name: str, folder: Path | None) -> None:
    """Import a module in the usual way, but also find packages beside the option file."""
    added = str(folder.resolve()) if folder else None
    if added and added not in sys.path:
        sys.path.append(added)
    importlib.import_module(name)


def _import_file(path: Path, spec: str, place: str) -> None:
    if str(path) in _imported:
        return
    name = f"uir_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise PluginError(f"plugin '{spec}'{place}: {path} is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # data loader workers unpickle the plugin's classes by this name
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise PluginError(f"plugin '{spec}'{place} failed to import: {_cause(error)}") from error
    _imported[str(path)] = spec


def _cause(error: BaseException) -> str:
    """The error and the last line of the plugin's code that it passed; a syntax error names its own line."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    passed = [line for line in traceback.extract_tb(error.__traceback__) if not line.filename.startswith("<frozen ")]
    where = f" ({passed[-1].filename}, line {passed[-1].lineno})" if passed else ""
    return f"{type(error).__name__}: {error}{where}"
