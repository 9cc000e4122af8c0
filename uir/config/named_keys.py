"""Keys whose names say what they hold: those of a method's networks, its losses, and the data sets' phases.

`compose` adds the keys of the networks' roles (`ROLE_KEYS`) and of the losses to the file's schema.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, create_model

from uir.config.schema import (
    ClipOptions,
    LargestNorm,
    LossOptions,
    NetworkOptions,
    OptimOptions,
    Options,
    PathOptions,
    SchedulerOptions,
    TrainOptions,
)

DATASET_PHASES = {"train": "What to train on.", "val": "What to validate on.", "test": "What to test on."}


def phase_of(key: object) -> str:
    """The first word of a key of `datasets`, `val` for `val_2`; in a valid key it is a phase."""
    return str(key).split("_")[0]


@dataclass(frozen=True)
class RoleKey:
    """A key that a file may have for each network of its training method: `optim_g` for the role `g`.

    Attributes:
        section: its section, "" for the top level of the file.
        prefix: its name without the role at the end.
        annotation: the type of its value.
        text: its description, with `{role}`.
        default: its value if the file does not have it.
        own: whether only uir's methods have it, not models written like BasicSR's.
    """

    section: str
    prefix: str
    annotation: Any
    text: str
    default: Any = None
    own: bool = False


ROLE_KEYS = (
    RoleKey("", "network_", NetworkOptions | None, "The network `{role}`."),
    RoleKey(
        "path",
        "pretrain_network_",
        Path | None,
        "Weights to start network_{role} from: a file or a shipped name.",
    ),
    RoleKey("path", "param_key_", str | None, "Key of the weights in the file (params, params_ema)."),
    RoleKey("path", "strict_load_", bool, "Every key must fit.", default=True),
    RoleKey("train", "optim_", OptimOptions | None, "Optimizer of network_{role}."),
    RoleKey(
        "train", "scheduler_", SchedulerOptions | None, "Schedule of optim_{role}, instead of `scheduler`.", own=True
    ),
    RoleKey(
        "train",
        "grad_clip_",
        LargestNorm | ClipOptions | None,
        "Clipping of network_{role}, instead of `grad_clip`; a number is the largest gradient norm.",
        own=True,
    ),
)
LOSS_SUFFIX = "_opt"


def says_its_name(key: object, section: str) -> Any:
    """The type of a key's value, if it follows from the key's name; otherwise None.

    Args:
        key: the key, `optim_x` or `edge_opt`.
        section: its section, "" for the top level of the file.
    """
    for rule in ROLE_KEYS:
        if rule.section == section and str(key).startswith(rule.prefix):
            return rule.annotation
    return LossOptions | None if section == "train" and str(key).endswith(LOSS_SUFFIX) else None


def compose(
    roles: Iterable[str],
    train_options: type[TrainOptions] = TrainOptions,
    losses: Iterable[str] = (),
    required_roles: Iterable[str] = (),
    own: bool = False,
    file_options: type[Options] = Options,
) -> type[Options]:
    """The schema of a file for one training method; equal arguments give the same class.

    Args:
        roles: roles of its networks, `g` for `network_g` and so on.
        train_options: its keys under `train`.
        losses: its loss slots, keys of `train` such as `pixel_opt`.
        required_roles: the roles whose networks a file must have.
        own: whether each role may have its own scheduler and clipping; not for a model written like BasicSR's.
        file_options: its keys at the top of the file.
    """
    return _composed(tuple(roles), train_options, tuple(losses), frozenset(required_roles), own, file_options)


@functools.cache
def _composed(
    roles: tuple[str, ...],
    train_options: type[TrainOptions],
    losses: tuple[str, ...],
    required: frozenset[str],
    own: bool,
    file_options: type[Options],
) -> type[Options]:
    fields: dict[str, dict[str, Any]] = {"": {}, "path": {}, "train": {}}
    fields["train"] |= dict.fromkeys(losses, (LossOptions | None, None))
    for rule in ROLE_KEYS:
        for role in roles if own or not rule.own else ():
            needed = rule.prefix == "network_" and role in required
            field = Field(... if needed else rule.default, description=rule.text.format(role=role))
            fields[rule.section][rule.prefix + role] = (NetworkOptions if needed else rule.annotation, field)
    train = create_model(train_options.__name__, __base__=train_options, **fields["train"])
    path = create_model("PathOptions", __base__=PathOptions, **fields["path"])
    sections: dict[str, Any] = {"train": (train | None, None), "path": (path, path())}
    return create_model("Options", __base__=file_options, **fields[""], **sections)
