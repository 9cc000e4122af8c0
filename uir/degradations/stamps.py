"""Draws many small shapes (flakes, drops) into a plane at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Size = tuple[int, int]
Shape = Callable[[Tensor, Tensor, Tensor], Tensor]


def stamp(size: Size, centres: Tensor, reach: Tensor, shape: Shape, dtype: torch.dtype = torch.float32) -> Tensor:
    """The largest value of all shapes at each pixel, [H, W]; 0 if there is none.

    The maximum does not depend on the order of the shapes, so the bits do not either.

    Args:
        size: (H, W).
        centres: [N, 2] rows and columns in pixels, inside or outside the plane.
        reach: [N] distance in pixels to which a shape extends from its centre along rows and columns.
        shape: (indices [n], dy [n, K, 1], dx [n, 1, K]) -> values [n, K, K] ≥ 0 of those shapes at that distance.
        dtype: type of the values.
    """
    height, width = size
    plane = torch.zeros(height * width, dtype=dtype)
    for indices, rows, columns in _windows(centres, reach):
        dy = (rows - centres[indices, :1])[:, :, None]
        dx = (columns - centres[indices, 1:])[:, None, :]
        values = shape(indices, dy, dx)
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
        position = rows[:, :, None] * width + columns[:, None, :]
        plane.scatter_reduce_(0, position[inside], values[inside], "amax")
    return plane.reshape(height, width)


def _windows(centres: Tensor, reach: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Groups shapes of equal reach: their indices [n] and the rows and columns [n, K] of their windows."""
    sides = reach.ceil().long()
    corners = centres.round().long()
    for side in sides.unique().tolist():
        indices = (sides == side).nonzero()[:, 0]
        offsets = torch.arange(-side, side + 1)
        yield indices, corners[indices, :1] + offsets, corners[indices, 1:] + offsets
