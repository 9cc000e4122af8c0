"""Optimizers and schedules that go on from a training state, whose settings the option file may have changed since."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

logger = logging.getLogger("uir")
_MARKS = ("betas", "momentum", "alpha", "rho", "lambd", "etas", "momentum_decay", "dampening", "lr_decay")
"""Settings that tell optimizers apart, for a state that does not name its optimizer."""


def resume_optimizer(key: str, optimizer: Optimizer, saved: Mapping[str, Any], saved_type: str | None) -> bool:
    """Load an optimizer's moments; its settings stay those of the file.

    Args:
        key: of the option file, for messages: `train.optim_g`.
        optimizer: as the file describes it, at its first iteration.
        saved: its state dict.
        saved_type: the name of the optimizer that wrote it, where the state tells it.

    Returns:
        Whether a learning rate of the file differs from the state's.

    Raises:
        ValueError: the state is of another optimizer, or of other parameter groups.
    """
    own_type, groups = type(optimizer).__name__, saved["param_groups"]
    marks = [{mark for mark in _MARKS if mark in group} for group in (optimizer.param_groups[0], groups[0])]
    if (saved_type is not None and saved_type != own_type) or marks[0] != marks[1]:
        raise ValueError(
            f"{key}.type: the file says {own_type}, the state is of {saved_type or 'another optimizer'}, whose moments "
            "do not fit; take that one again, or start a new run from the weights"
        )
    sizes = [[len(group["params"]) for group in each] for each in (optimizer.param_groups, groups)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"{key}: its parameter groups have {sizes[0]} parameters, those of the state {sizes[1]}; were `groups` or "
            "the network changed?"
        )
    settings = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    changed = [_changed_settings(key, own, group) for own, group in zip(settings, groups, strict=True)]
    optimizer.load_state_dict(dict(saved))
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update({name: value for name, value in own.items() if name not in _progress_of(own) - {"initial_lr"}})
    return any(changed)


def _progress_of(group: Mapping[str, Any]) -> set[str]:
    """What a schedule changes in a parameter group; some change the momentum too."""
    return {"lr", "initial_lr"} | ({"betas", "momentum"} if "base_momentum" in group else set())


def _changed_settings(key: str, own: Mapping[str, Any], saved: Mapping[str, Any]) -> bool:
    """Warn of the settings of one group that differ; whether the learning rate is one of them."""
    rate_name = "initial_lr" if "initial_lr" in own else "lr"
    compared = [(n, own[n], saved[n]) for n in own if n in saved and n not in _progress_of(own)]
    if rate_name in saved:
        compared.append(("lr", own[rate_name], saved[rate_name]))
    differing = [entry for entry in compared if not _same(*entry[1:])]
    for name, new, old in differing:
        _say(f"{key}.{name}", old, new)
    return any(name == "lr" for name, _, _ in differing)


def resume_scheduler(key: str, scheduler: LRScheduler, saved: Mapping[str, Any], rates_changed: bool) -> bool:
    """Put a schedule where the state was written.

    Where the file's schedule or rates differ from the state's, the file's schedule is run from its beginning to there,
    so that the rates are those of a run that had this file from the start.

    Args:
        key: of the option file, for messages: `train.scheduler`.
        scheduler: as the file describes it, at its first iteration.
        saved: its state dict.
        rates_changed: whether the file's learning rates differ from the state's.

    Returns:
        Whether the state was not taken.
    """
    own = scheduler.state_dict()
    names = [n for n in inspect.signature(type(scheduler).__init__).parameters if n in own and n != "last_epoch"]
    differing = [name for name in names if name not in saved or not _same(own[name], saved[name])]
    if any(name not in saved for name in differing):
        _say(f"{key}.type", "another schedule", type(scheduler).__name__)
    else:
        for name in differing:
            _say(f"{key}.{name}", saved[name], own[name])
    if not differing and not rates_changed:
        scheduler.load_state_dict(dict(saved))
        return False
    for group, rate in zip(scheduler.optimizer.param_groups, scheduler.get_last_lr(), strict=True):
        group["lr"] = rate
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch expects a step of the optimizer before each
        for _ in range(int(saved["last_epoch"])):
            scheduler.step()
    return True


def _same(one: Any, other: Any) -> bool:
    return bool(_plain(one) == _plain(other))


def _plain(value: Any) -> Any:
    """torch and basicsr count milestones in a Counter, which is a list in the file."""
    if isinstance(value, Counter):
        return sorted(value.elements())
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _say(key: str, old: Any, new: Any) -> None:
    logger.warning("%s: %s in the state, %s in the file; the file holds from here on", key, _plain(old), _plain(new))
