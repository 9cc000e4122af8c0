"""Weights between two networks (network interpolation, Wang et al., ESRGAN, ECCVW 2018, Sec. 3.4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from uir.core.checkpoint import CheckpointError, StateDict, read_file, read_weights, write_checkpoint

_GROUPS = ("params", "params_ema")


def interpolate_files(first: Path, second: Path, alpha: float, output: Path) -> list[str]:
    """Write (1 − alpha) · first + alpha · second, weight by weight.

    Weights and averages (`params_ema`) are interpolated each for itself where both files have them. Otherwise the
    weights that restoring would take from each file are. The card is the first file's, and says what was done.

    Args:
        first, second: checkpoints of the same network.
        alpha: 0 gives the first file's weights, 1 the second's. Others than these and those between extrapolate.
        output: the file to write.

    Returns:
        The names of the groups that were written.

    Raises:
        CheckpointError: a file cannot be read, or the two are not of the same network.
    """
    contents = [read_file(file) for file in (first, second)]
    shared = [group for group in _GROUPS if all(isinstance(content.get(group), dict) for content in contents)]
    written: dict[str, StateDict] = {}
    groups: list[str | None] = [*shared] or [None]
    for group in groups:
        one, other = (read_weights(file, group)[0] for file in (first, second))
        written[group or "params"] = interpolated(one, other, alpha, f"{first} and {second}")
    cards = [read_weights(file)[1] for file in (first, second)]
    archs = [card.get("arch") for card in cards]
    if None not in archs and archs[0] != archs[1]:
        raise CheckpointError(f"{first} and {second} are of different networks: {archs[0]} and {archs[1]}")
    card: dict[str, Any] = {key: value for key, value in cards[0].items() if key not in ("sha256", "uir_version")}
    card["interpolated"] = {"first": first.name, "second": second.name, "alpha": alpha}
    write_checkpoint(output, written, card)
    return list(written)


def interpolated(first: StateDict, second: StateDict, alpha: float, what: str) -> StateDict:
    """(1 − alpha) · first + alpha · second of two state dicts; counters and indices are the first's.

    Raises:
        CheckpointError: their keys or shapes differ.
    """
    keys = [key for key in {**first, **second} if (key in first) != (key in second)]
    if keys:
        raise CheckpointError(f"{what} are of different networks: only one of them has {keys[0]}")
    shapes = [key for key in first if first[key].shape != second[key].shape]
    if shapes:
        key = shapes[0]
        raise CheckpointError(
            f"{what} are of different networks: {key} is {list(first[key].shape)} and {list(second[key].shape)}"
        )
    return {
        key: ((1 - alpha) * value.double() + alpha * second[key].double()).to(value.dtype)
        if value.is_floating_point()
        else value.clone()
        for key, value in first.items()
    }
