"""Normal noise that depends on a seed, the image's name and the place in it, and on nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from uir.core.seeds import torch_generator

Draw = Callable[[int], Tensor]
"""Gives the noise of a step of a sampler, in the shape of the state."""

BLOCK = 64
"""Side in pixels of the squares that are drawn at once."""


@dataclass(frozen=True)
class NoiseField:
    """Noise without edges for some images: every part of it can be drawn alone, and it is the same in any tile.

    Squares of `BLOCK` pixels are drawn one by one, each from a generator of its own, so that the memory does not grow
    with the image.

    Attributes:
        seed: where the noise starts.
        names: the names of the images.
        channels: C.
        purpose: another purpose gives other noise.
    """

    seed: int
    names: tuple[str, ...]
    channels: int
    purpose: str = "noise"

    def part(self, top: int, left: int, height: int, width: int, step: int = 0) -> Tensor:
        """The noise of a rectangle: [B, C, height, width] on the CPU.

        Args:
            top, left: its first row and column, at least 0.
            height, width: its size.
            step: other steps have other noise.
        """
        drawn = torch.empty(len(self.names), self.channels, height, width)
        for row in range(top // BLOCK, -(-(top + height) // BLOCK)):
            for column in range(left // BLOCK, -(-(left + width) // BLOCK)):
                rows, inner_rows = _shared(row, top, height)
                columns, inner_columns = _shared(column, left, width)
                for index, name in enumerate(self.names):
                    generator = torch_generator(self.seed, name, self.purpose, step, row, column)
                    block = torch.randn(self.channels, BLOCK, BLOCK, generator=generator)
                    drawn[index, :, rows, columns] = block[:, inner_rows, inner_columns]
        return drawn


def _shared(block: int, start: int, length: int) -> tuple[slice, slice]:
    """The pixels that a block shares with an interval: counted from the interval's start, and from the block's."""
    first, last = max(block * BLOCK, start), min((block + 1) * BLOCK, start + length)
    return slice(first - start, last - start), slice(first - block * BLOCK, last - block * BLOCK)
