"""Groups of a network's parameters with their own learning rate, weight decay and so on (`optim_<role>.groups`)."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from uir.config.schema import ParameterGroup


def parameter_groups(network: nn.Module, groups: Sequence[ParameterGroup], where: str) -> tuple[list[Any], list[str]]:
    """The trained parameters of a network in the form for an optimizer, and their names in the optimizer's order.

    Args:
        network: the network; only parameters that need a gradient count.
        groups: of the option file; a parameter belongs to the first one that names it, its module or a pattern of it.
            The other parameters come first, as a group with the optimizer's own settings.
        where: key path of the optimizer, for messages.

    Raises:
        ValueError: a name fits no trained parameter, or all parameters that it fits belong to earlier groups.
    """
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    if not groups:
        return list(trained.values()), list(trained)
    members: list[list[str]] = [[] for _ in groups]
    free = list(trained)
    for index, group in enumerate(groups):
        for pattern in group.parameters:
            chosen = [name for name in free if _fits(name, pattern)]
            if not chosen:
                taken = any(_fits(name, pattern) for name in trained)
                why = "its parameters belong to earlier groups" if taken else "no trained parameter has this name"
                near = ", ".join(list(trained)[:3])
                raise ValueError(f"{where}.groups[{index}].parameters: '{pattern}': {why}; names are {near}, ...")
            members[index] += chosen
            free = [name for name in free if name not in chosen]
    described: list[dict[str, Any]] = [{"params": [trained[name] for name in free]}] if free else []
    for group, names in zip(groups, members, strict=True):
        settings = {key: tuple(v) if isinstance(v, list) else v for key, v in (group.model_extra or {}).items()}
        rate = {} if group.lr is None else {"lr": group.lr}
        described.append({"params": [trained[name] for name in names], **settings, **rate})
    return described, free + [name for names in members for name in names]


def _fits(name: str, pattern: str) -> bool:
    """Whether a pattern is a parameter's name or that of a module around it; `*` means any text."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
