"""Groups of a network's parameters with their own learning rate, weight decay and so on.

Of an optimizer's section of the option file these are `groups`, `layer_decay` and `decay_1d`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from uir.config.schema import LayerDecay, OptimOptions, ParameterGroup

LAYER_FACTOR = "layer_factor"
"""Key of an optimizer's group: what the schedule's learning rate is multiplied by in every step."""


def parameter_groups(network: nn.Module, options: OptimOptions, where: str) -> tuple[list[Any], list[str]]:
    """The trained parameters of a network in the form for an optimizer, and their names in the optimizer's order.

    Args:
        network: the network; only parameters that need a gradient count.
        options: the optimizer's section. A parameter belongs to the first of its `groups` that names it, its module or
            a pattern of it. The other parameters come first, as a group with the optimizer's own settings, or as
            several, one for each layer of `layer_decay`, and one for what has no weight decay.
        where: key path of the optimizer, for messages.

    Raises:
        ValueError: a name fits no trained parameter, or all parameters that it fits belong to earlier groups; or
            `layer_decay` names no layers, and the network declares none.
    """
    groups = options.groups
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    if not groups and options.layer_decay is None and options.decay_1d:
        return list(trained.values()), list(trained)
    paths = [f"{where}.groups[{index}].parameters" for index in range(len(groups))]
    members, free = _shared_out(trained, [group.parameters for group in groups], paths)
    parts = _layers_of(network, free, options.layer_decay, where)
    described = _without_decay(trained, parts, options.decay_1d)
    described += [(names, _settings_of(group)) for group, names in zip(groups, members, strict=True)]
    as_groups = [{"params": [trained[name] for name in names], **settings} for names, settings in described]
    return as_groups, [name for names, _ in described for name in names]


Part = tuple[list[str], dict[str, Any]]  # names of parameters, and their settings


def _shared_out(
    names: Collection[str], patterns: Sequence[Sequence[str]], paths: Sequence[str]
) -> tuple[list[list[str]], list[str]]:
    """The names that fit each list of patterns, the first one that fits counting, and the names that fit none."""
    members: list[list[str]] = [[] for _ in patterns]
    free = list(names)
    for index, group in enumerate(patterns):
        for pattern in group:
            chosen = [name for name in free if _fits(name, pattern)]
            if not chosen:
                taken = any(_fits(name, pattern) for name in names)
                why = "its parameters belong to earlier groups" if taken else "no trained parameter has this name"
                near = ", ".join(list(names)[:3])
                raise ValueError(f"{paths[index]}: '{pattern}': {why}; names are {near}, ...")
            members[index] += chosen
            free = [name for name in free if name not in chosen]
    return members, free


def _layers_of(network: nn.Module, names: list[str], decay: float | LayerDecay | None, where: str) -> list[Part]:
    """The parameters by layer, from the input to the output, each with the factor of its learning rate."""
    if decay is None:
        return [(names, {})] if names else []
    written = decay.layers if isinstance(decay, LayerDecay) else None
    factor = decay.factor if isinstance(decay, LayerDecay) else decay
    if written is not None:
        paths = [f"{where}.layer_decay.layers[{index}]" for index in range(len(written))]
        members, last = _shared_out(names, written, paths)
    else:
        declared = getattr(network, "depths", None)
        if not callable(declared):
            raise ValueError(
                f"{where}.layer_decay: {type(network).__name__} declares no layers (depths()); name them: "
                "{factor: ..., layers: [[first, ...], [second, ...], ...]}"
            )
        # Frozen layers, and those in `groups`, have no parameter here; the last group is the output.
        members = [[name for name in names if any(_fits(name, entry) for entry in entries)] for entries in declared()]
        taken = {name for group in members[:-1] for name in group}
        members, last = members[:-1], [name for name in names if name not in taken]
    count = len(members)
    parts = [(group, {LAYER_FACTOR: factor ** (count - index)}) for index, group in enumerate([*members, last])]
    return [(group, settings) for group, settings in parts if group]


def _without_decay(trained: Mapping[str, nn.Parameter], parts: list[Part], decay_1d: bool) -> list[Part]:
    """The parts, each divided into what has weight decay and what has none."""
    if decay_1d:
        return parts
    divided: list[Part] = []
    for names, settings in parts:
        vectors = [name for name in names if trained[name].ndim <= 1 or name.endswith("bias")]
        others = [name for name in names if name not in vectors]
        divided += [(others, settings), (vectors, {**settings, "weight_decay": 0.0})]
    return [(names, settings) for names, settings in divided if names]


def _settings_of(group: ParameterGroup) -> dict[str, Any]:
    settings = {key: tuple(v) if isinstance(v, list) else v for key, v in (group.model_extra or {}).items()}
    return settings if group.lr is None else {**settings, "lr": group.lr}


def _fits(name: str, pattern: str) -> bool:
    """Whether a pattern is a parameter's name or that of a module around it; `*` means any text."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
