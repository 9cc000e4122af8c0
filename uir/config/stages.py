"""Training in stages: one file describes several trainings, each of which starts from the networks of the one before.

An entry of `train.stages` has a `name`, a number of `iterations`, and changes that are merged into the file.
There are short forms: `losses: [pixel_opt]` keeps only these losses, `train: [network_g]` trains only these networks,
and keys of `train` may be in the entry itself (`optim_g: {lr: 1e-4}`). Optimizers restart unless `carry: [optim_g]`
keeps their moments.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uir.config.methods import train_keys_of
from uir.config.named_keys import says_its_name
from uir.config.schema import KEYS_AT_BOTH_PLACES, KEYS_OF_NO_STAGE, Options, StageOptions
from uir.config.yaml_file import KeyPath, Mark, mapping_at
from uir.registry import MODEL_REGISTRY

OWN_KEYS = tuple(StageOptions.model_fields)


class StageError(ValueError):
    """A mistake in `train.stages`; `path` is its place."""

    def __init__(self, path: KeyPath, message: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True)
class StagePlan:
    """One stage, as a file of its own.

    Attributes:
        name: its name.
        iterations: its length.
        raw: the whole file for this stage.
        carry: optimizers that keep their moments, such as `optim_g`.
        fresh: roles whose weights the stage names itself; they do not continue from the stage before.
        places: for each key path of `raw` that the stage changes, the place where it was written.
    """

    name: str
    iterations: int
    raw: dict[str, Any]
    carry: tuple[str, ...]
    fresh: tuple[str, ...]
    places: dict[KeyPath, Mark]


def plan_stages(raw: Mapping[str, Any], marks: Mapping[KeyPath, Mark]) -> list[StagePlan]:
    """The stages of a merged file, in order; empty if it has none.

    Raises:
        StageError: an entry has a wrong form, or the file has `total_iter` too.
    """
    train = raw.get("train")
    entries = train.get("stages") if isinstance(train, Mapping) else None
    if entries is None:
        return []
    where: KeyPath = ("train", "stages")
    if not isinstance(entries, list) or not entries:
        raise StageError(where, ": expected a list of stages, each with `name` and `iterations`")
    if "total_iter" in raw["train"]:
        raise StageError(
            ("train", "total_iter"),
            "and `stages` exclude each other: it is the sum of their `iterations`; remove one of them",
        )
    plans: list[StagePlan] = []
    for index, entry in enumerate(entries):
        plan = _plan(raw, marks, entry, (*where, index))
        if plan.name in [earlier.name for earlier in plans]:
            raise StageError((*where, index, "name"), f": two stages are called '{plan.name}'")
        plans.append(plan)
    return plans


def _plan(raw: Mapping[str, Any], marks: Mapping[KeyPath, Mark], entry: Any, path: KeyPath) -> StagePlan:
    if not isinstance(entry, Mapping):
        raise StageError(path, f": expected a mapping with `name` and `iterations`, got {entry!r}")
    for key, kind in (("name", str), ("iterations", int)):
        value = entry.get(key)
        if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and value < 1):
            noun = "a name" if kind is str else "a whole number above 0"
            raise StageError((*path, key), f": expected {noun}, got {value!r}")
    for key, why in KEYS_OF_NO_STAGE.items():
        if key in entry:
            raise StageError((*path, key), f"is not an option of a stage; {why}")
    whole: dict[str, Any] = copy.deepcopy(dict(raw))
    del whole["train"]["stages"]
    whole["train"]["total_iter"] = entry["iterations"]
    for key in KEYS_AT_BOTH_PLACES:  # one place, so that a stage changes what applies
        if whole.get(key) is not None and whole["train"].get(key) in (None, whole[key]):
            whole["train"][key] = whole.pop(key)
    places: dict[KeyPath, Mark] = {}
    _keep_losses(whole, entry.get("losses"), path)
    for key, value in entry.items():
        target: tuple[str, ...] = (str(key),)
        if key in OWN_KEYS and not (key == "train" and isinstance(value, Mapping)):
            continue
        if key not in OWN_KEYS and _belongs_to_train(key, raw, entry):
            target = ("train", str(key))
        _merge(whole, target, value)
        _take_places(places, marks, (*path, key), target)
    _keep_networks(whole, entry.get("train"), path)
    _drop_unknown_networks(whole, entry)
    carry = entry.get("carry") or []
    if not isinstance(carry, list) or not all(isinstance(key, str) and key.startswith("optim_") for key in carry):
        raise StageError((*path, "carry"), f": expected a list of optimizers such as [optim_g], got {carry!r}")
    prefix = "pretrain_network_"
    fresh = tuple(key.removeprefix(prefix) for key in mapping_at(entry, "path") if str(key).startswith(prefix))
    return StagePlan(entry["name"], entry["iterations"], whole, tuple(carry), fresh, places)


def _belongs_to_train(key: str, raw: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """Whether a key of a stage is one of `train`: known to its method, used there, or told by its name."""
    if key in KEYS_AT_BOTH_PLACES:
        return True
    if key in Options.model_fields or says_its_name(key, "") is not None:
        return False
    known = train_keys_of(entry.get("model_type", raw.get("model_type"))).keys
    return key in known or key in raw["train"] or says_its_name(key, "train") is not None


def _merge(whole: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Put a value at a key path: mappings merge, other values replace, null deletes."""
    target = whole
    for key in path[:-1]:
        target = target.setdefault(key, {})
    leaf = path[-1]
    if isinstance(value, Mapping) and isinstance(target.get(leaf), dict):
        for key, inner in value.items():
            _merge(target[leaf], (str(key),), inner)
    elif value is None:
        target.pop(leaf, None)
    else:
        target[leaf] = copy.deepcopy(value)


def _keep_losses(whole: dict[str, Any], losses: Any, path: KeyPath) -> None:
    if losses is None:
        return
    loss_keys = [key for key in whole["train"] if str(key).endswith("_opt")]
    unknown = [key for key in losses if key not in loss_keys] if isinstance(losses, list) else losses
    if unknown:
        raise StageError((*path, "losses"), f": expected a list of losses from {', '.join(loss_keys)}, got {losses!r}")
    for key in loss_keys:
        if key not in losses:
            del whole["train"][key]


def _keep_networks(whole: dict[str, Any], networks: Any, path: KeyPath) -> None:
    """Train only these networks: the others lose their optimizer and do not change."""
    if networks is None or isinstance(networks, Mapping):
        return
    network_keys = [key for key in whole if str(key).startswith("network_")]
    if not isinstance(networks, list) or any(key not in network_keys for key in networks):
        raise StageError((*path, "train"), f": expected a list from {', '.join(network_keys)}, got {networks!r}")
    for key in network_keys:
        if key not in networks:
            whole["train"].pop(f"optim_{key.removeprefix('network_')}", None)


def _drop_unknown_networks(whole: dict[str, Any], entry: Mapping[str, Any]) -> None:
    """Remove the networks that the stage's own method has no role for."""
    if "model_type" not in entry or entry["model_type"] not in MODEL_REGISTRY:
        return
    roles = getattr(MODEL_REGISTRY.get(entry["model_type"]), "network_roles", None)
    for key in [key for key in whole if str(key).startswith("network_") and key not in entry]:
        role = str(key).removeprefix("network_")
        if roles is not None and role not in roles:
            del whole[key]
            whole["train"].pop(f"optim_{role}", None)


def _take_places(places: dict[KeyPath, Mark], marks: Mapping[KeyPath, Mark], source: KeyPath, target: KeyPath) -> None:
    for path, mark in marks.items():
        if path[: len(source)] == source:
            places[(*target, *path[len(source) :])] = mark
