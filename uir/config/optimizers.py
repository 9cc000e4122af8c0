"""Optimizers and learning-rate schedulers by name: torch's, BasicSR's, timm's, or any class by its dotted path."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import torch

from uir.core.schedulers import SCHEDULERS
from uir.registry.sources import name_source


def optimizer_names() -> dict[str, Any]:
    """The optimizers that need no path: torch's, by name."""
    return {n: c for n, c in vars(torch.optim).items() if inspect.isclass(c) and n != "Optimizer"}


def scheduler_names() -> dict[str, Any]:
    """The schedulers that need no path: torch's and BasicSR's, by name."""
    held = vars(torch.optim.lr_scheduler)
    return {n: c for n, c in held.items() if inspect.isclass(c) and n.endswith(("LR", "Restarts"))} | SCHEDULERS


def optimizer_class(name: str) -> Any:
    """The class or factory `(parameters, lr=..., ...)` of a name.

    Args:
        name: of torch.optim, `timm:lion` (a name of timm's registry), or a dotted path such as `my_pkg.optim.Sophia`.

    Raises:
        ValueError: there is none.
    """
    if name.startswith("timm:"):
        return _of_timm(name.removeprefix("timm:"))
    return optimizer_names().get(name) or _by_path(name, "optimizer", torch.optim.Optimizer)


def scheduler_class(name: str) -> Any:
    """The class `(optimizer, ...)` of a name of torch or BasicSR, or of a dotted path.

    Raises:
        ValueError: there is none.
    """
    return scheduler_names().get(name) or _by_path(name, "scheduler", torch.optim.lr_scheduler.LRScheduler)


def _by_path(name: str, kind: str, base: type) -> Any:
    module, dot, leaf = name.rpartition(".")
    if not dot:
        raise ValueError(f"no {kind} is called '{name}'")
    try:
        found = getattr(importlib.import_module(module), leaf)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"no {kind} is found at '{name}' ({error})") from None
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise ValueError(f"'{name}' is no {kind}: it does not derive from {base.__module__}.{base.__name__}")
    return found


def _of_timm(name: str) -> Any:
    name_source().prepare()
    try:
        from timm.optim import get_optimizer_class, list_optimizers
    except ImportError:
        raise ValueError(f"'timm:{name}' needs timm: pip install 'uir[timm]'") from None
    held = [str(known) for known in list_optimizers()]
    if name not in held:
        raise ValueError(f"timm has no optimizer '{name}'; it has {', '.join(held)}")
    return get_optimizer_class(name, bind_defaults=False)
