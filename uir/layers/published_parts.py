"""Published checkpoints that hold an encoder and a backbone in one state dict."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def part_of(state: dict[str, Tensor], prefixes: Sequence[str]) -> dict[str, Tensor]:
    """The keys that stand under one of `prefixes`, without it; a state dict that has none of them passes as it is.

    So `pretrain_network_e` and `pretrain_network_g` may name the same published file, and each network takes its part.
    """
    for prefix in prefixes:
        part = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if part:
            return part
    return state
