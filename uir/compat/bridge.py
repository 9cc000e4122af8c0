"""The connection to basicsr 1.4.2: import it, give it uir's archs and losses, and take over its log lines."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from uir.compat.imports import prepare
from uir.registry import ARCH_REGISTRY, LOSS_REGISTRY, Registry, UnknownNameError

_INSTALL = (
    "after torch, numpy, cython, setuptools and wheel: `pip install --no-build-isolation basicsr==1.4.2` "
    "(it can be built on Python 3.10 to 3.12 only)"
)
_REGISTRIES = "basicsr.utils.registry"
_entered = False


class BasicSRMissingError(ImportError):
    """basicsr is needed but is not installed or cannot be imported; the message says how to install it."""


def load_basicsr() -> ModuleType:
    """Import basicsr. The first call also gives it uir's archs and losses and takes over its logger.

    Raises:
        BasicSRMissingError: it is not installed, or importing it failed.
    """
    global _entered
    if _entered:
        return sys.modules["basicsr"]
    prepare()
    if "basicsr" not in sys.modules and find_spec("basicsr") is None:
        raise BasicSRMissingError(f"basicsr is not installed; install it {_INSTALL}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # warnings of scipy and distutils, about code that nobody maintains
            basicsr = importlib.import_module("basicsr")
            registries = importlib.import_module(_REGISTRIES)
    except Exception as error:
        raise BasicSRMissingError(
            f"basicsr is installed but cannot be imported ({type(error).__name__}: {error}); "
            f"install it again, {_INSTALL}"
        ) from error
    _entered = True
    importlib.import_module("basicsr.utils.logger")
    take_log_lines()
    _lend(ARCH_REGISTRY, registries.ARCH_REGISTRY)
    _lend(LOSS_REGISTRY, registries.LOSS_REGISTRY)
    return basicsr


def basicsr_registry(name: str) -> dict[str, Any]:
    """The content of one of basicsr's registries (`"ARCH_REGISTRY"`), as `{name: object}`; this imports basicsr.

    Raises:
        BasicSRMissingError: see `load_basicsr`.
    """
    load_basicsr()
    return loaded_basicsr_registry(name)


def loaded_basicsr_registry(name: str) -> dict[str, Any]:
    """The same as `basicsr_registry`, but it never imports basicsr: empty if nothing else has imported it."""
    registries = sys.modules.get(_REGISTRIES)
    return {key: obj for key, obj in getattr(registries, name, ())}  # noqa: C416  (a registry with `keys`, not a mapping)


def _lend(ours: Registry, theirs: Any) -> None:
    """Copy uir's own classes into one of basicsr's registries, under names that basicsr does not use."""
    for name in ours.keys():  # noqa: SIM118
        if name in theirs or f"{name}_basicsr" in theirs:
            continue
        try:
            own = ours.get(f"uir:{name}")
        except UnknownNameError:  # a plugin's name
            continue
        if own.__name__ == name:  # basicsr's registries know no second names
            theirs.register(own)


class _ToUIR(logging.Handler):
    """Passes basicsr's log lines to the handlers of the logger `uir`."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = logging.getLogger("uir")
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)


def take_log_lines() -> None:
    """Make basicsr's `get_root_logger()` return a logger that writes only through uir's handlers.

    It is also called for plugins, which import basicsr themselves; it does not import basicsr.
    """
    logger = logging.getLogger("basicsr")
    for handler in [handler for handler in logger.handlers if not isinstance(handler, _ToUIR)]:
        logger.removeHandler(handler)
    if not logger.handlers:
        logger.addHandler(_ToUIR())
    logger.propagate = False
    logger.setLevel(logging.INFO)
    getattr(sys.modules.get("basicsr.utils.logger"), "initialized_logger", {})["basicsr"] = True
