"""What a vectoriser gives."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Targets(NamedTuple):
    """Numbers that a method learns from.

    Attributes:
        values: [B, N].
        mask: bool [B, N]; where it is false the value is not known and must not count.
    """

    values: Tensor
    mask: Tensor
