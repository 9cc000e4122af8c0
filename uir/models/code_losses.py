"""What losses on degradation codes may ask for, and whether an encoder can give it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from uir.config.schema import Component, TrainOptions
from uir.registry import LOSS_REGISTRY

INPUTS = {
    "restored": "the restored batch",
    "gt": "the clean batch",
    "code": "network_e's code of the batch",
    "gt_code": "network_e's code of the clean batch",
    "renditions": "network_e's codes of the renditions, a list",
    "orders": "their orders [B, R]",
    "labels": "indices of the records' labels, -1 where there is none",
    "codebook": "the words [N, C] of network_e's nn.Embedding",
    "key": "the momentum encoder's code of a second crop",
    "queue": "earlier keys [K, D]",
    "restored_key": "the momentum encoder's code of the restored batch",
    "gt_key": "the momentum encoder's code of the clean batch",
    "lq_key_code": "the momentum encoder's code of the batch",
}
"""What a loss may name in its `inputs`."""
MOMENTUM_INPUTS = ("key", "queue", "restored_key", "gt_key", "lq_key_code")
RESTORED_INPUTS = ("restored", "restored_key")
CODE_INPUTS = ("code", "gt_code", "renditions")
"""What network_e itself says."""


def inputs_of(loss: Any) -> tuple[str, ...]:
    """What a loss is called with; one that does not say works on images."""
    inputs: tuple[str, ...] = getattr(loss, "inputs", ("restored", "gt"))
    return inputs


def needs_of_losses(
    train: TrainOptions, slots: Iterable[str], encoder: str, given: Sequence[str]
) -> tuple[set[str], set[str]]:
    """The fields of network_e's own codes that the losses of `train` read, and all that they ask for.

    Args:
        train: with losses in `slots` and in any further key `<name>_opt`.
        slots: keys that hold a loss.
        encoder: the encoder's class, for messages.
        given: the fields that it fills.

    Raises:
        ValueError: there is no loss, one asks for what nobody has, or needs a field that the encoder leaves empty.
    """
    held = {**{slot: getattr(train, slot, None) for slot in slots}, **(train.model_extra or {})}
    read: set[str] = set()
    asked: set[str] = set()
    for slot, value in held.items():
        if not slot.endswith("_opt") or value is None:
            continue
        name = value.type if isinstance(value, Component) else value["type"]
        loss = LOSS_REGISTRY.get(name)
        asked |= set(inputs_of(loss))
        unknown = [entry for entry in inputs_of(loss) if entry not in INPUTS]
        if unknown:
            raise ValueError(f"train.{slot}: {name} asks for '{unknown[0]}'; there are {', '.join(INPUTS)}")
        if not set(CODE_INPUTS).isdisjoint(inputs_of(loss)):
            read |= set(getattr(loss, "needs", ()))
        missing = [field for field in getattr(loss, "needs", ()) if field not in given]
        if missing:
            raise ValueError(
                f"train.{slot}: {name} needs the field '{missing[0]}' of a degradation code; network_e ({encoder}) "
                f"gives {', '.join(given)}; take another encoder or loss"
            )
    if not asked:
        raise ValueError("train: no loss is given; add pixel_opt, contrastive_opt or any <name>_opt")
    return read, asked
