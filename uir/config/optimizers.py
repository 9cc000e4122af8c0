"""Optimizers and learning-rate schedulers by name: torch's, BasicSR's, timm's, or any class by its dotted path."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import torch

from uir.core.schedulers import SCHEDULERS
from uir.registry.sources import name_source


def optimizer_names() -> dict[str, Any]:
    """The optimizers that need no dotted path: torch's, by name."""
    return {n: c for n, c in vars(torch.optim).items() if inspect.isclass(c) and n != "Optimizer"}


def scheduler_names() -> dict[str, Any]:
    """The schedulers that need no dotted path: torch's and BasicSR's, by name."""
    members = vars(torch.optim.lr_scheduler)
    return {n: c for n, c in members.items() if inspect.isclass(c) and n.endswith(("LR", "Restarts"))} | SCHEDULERS


def optimizer_class(name: str) -> Any:
    """The class or function `(parameters, lr=..., ...)` for a name.

    Args:
        name: a name of torch.optim, one of timm's registry (`timm:lion`), or a dotted path (`my_pkg.optim.Sophia`).

    Raises:
        ValueError: no optimizer has this name.
    """
    if name.startswith("timm:"):
        return _of_timm(name.removeprefix("timm:"))
    return optimizer_names().get(name) or _by_path(name, "optimizer", torch.optim.Optimizer)


def scheduler_class(name: str) -> Any:
    """The class `(optimizer, ...)` for a name of torch or BasicSR, or for a dotted path.

    Raises:
        ValueError: no scheduler has this name.
    """
    return scheduler_names().get(name) or _by_path(name, "scheduler", torch.optim.lr_scheduler.LRScheduler)


def _by_path(name: str, kind: str, base: type) -> Any:
    module, dot, leaf = name.rpartition(".")
    if not dot:
        raise ValueError(f"no {kind} is called '{name}'")
    try:
        target = getattr(importlib.import_module(module), leaf)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"no {kind} is found at '{name}' ({error})") from None
    if not (inspect.isclass(target) and issubclass(target, base)):
        raise ValueError(f"'{name}' is no {kind}: it does not derive from {base.__module__}.{base.__name__}")
    return target


def _of_timm(name: str) -> Any:
    name_source().prepare()
    try:
        from timm.optim import get_optimizer_class, list_optimizers
    except ImportError:
        raise ValueError(f"'timm:{name}' needs timm: pip install 'uir[timm]'") from None
    names = [str(known) for known in list_optimizers()]
    if name not in names:
        raise ValueError(f"timm has no optimizer '{name}'; it has {', '.join(names)}")
    return get_optimizer_class(name, bind_defaults=False)
