"""The result of a vectoriser."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Targets(NamedTuple):
    """Numbers that a method learns from.

    Attributes:
        values: [B, N].
        mask: bool [B, N]; if it is false, the value is unknown and must not count.
    """

    values: Tensor
    mask: Tensor
