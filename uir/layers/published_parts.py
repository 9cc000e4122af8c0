"""Published checkpoints that contain an encoder and a backbone in one state dict."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def part_of(state: dict[str, Tensor], prefixes: Sequence[str]) -> dict[str, Tensor]:
    """The keys under one of `prefixes`, without the prefix; a state dict without such keys is unchanged.

    So `pretrain_network_e` and `pretrain_network_g` may name the same published file, and each network gets its part.
    """
    for prefix in prefixes:
        part = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if part:
            return part
    return state
