"""What the keys and shapes of a state dict tell about its network."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor


def count_of(state: Mapping[str, Tensor], prefix: str) -> int:
    """Number of modules `<prefix>.0.`, `<prefix>.1.`, ... that have weights: the highest number, plus one."""
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)\.")
    return max((int(match[1]) + 1 for key in state if (match := pattern.match(key))), default=0)


def factor_of(hidden: Mapping[int, int], usual: float) -> float | None:
    """The factor by which widths were multiplied and rounded down.

    Args:
        hidden: the result for each width.
        usual: the factor to try first.

    Returns:
        None if no factor gives all of these results.
    """
    widest = max(hidden)
    for factor in (usual, hidden[widest] / widest, (hidden[widest] + 0.5) / widest):
        if all(int(width * factor) == result for width, result in hidden.items()):
            return factor
    return None
