"""The eight flips and quarter turns of an image."""

from __future__ import annotations

from torch import Tensor

TURNS = 8


def turned(image: Tensor, turn: int) -> Tensor:
    """[..., H, W] flipped and turned; [..., W, H] if `turn` is 4 or more.

    Args:
        image: any tensor whose last axes are rows and columns.
        turn: 0 to 7, the sum of 1 (flip the columns), 2 (flip the rows) and then 4 (exchange rows and columns).
    """
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if turn & bit]
    image = image.flip(axes) if axes else image
    return image.transpose(-1, -2) if turn & 4 else image


def turned_back(image: Tensor, turn: int) -> Tensor:
    """The inverse of `turned`."""
    image = image.transpose(-1, -2) if turn & 4 else image
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if turn & bit]
    return image.flip(axes) if axes else image
