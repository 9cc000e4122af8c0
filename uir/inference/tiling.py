"""Restoring an image tile by tile: overlapping tiles are blended so that no border between them is visible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

Read = Callable[[slice, slice], Tensor]
"""Gives the pixels [B, C, h, w] of these rows and columns."""

OVERLAP = 64
"""Default number of pixels that neighbouring tiles share."""


def tile_named(text: str) -> int | Literal["auto"] | None:
    """The tile that a user types: a number of pixels, `auto`, or `whole` for none.

    Raises:
        ValueError: the text is something else.
    """
    if text in ("auto", "whole"):
        return "auto" if text == "auto" else None
    if not text.isdecimal():
        raise ValueError(f"tile: expected a number of pixels, auto or whole, got '{text}'")
    return int(text)


def check_tiling(tile: int, overlap: int, multiple: int = 1) -> None:
    """Check that images can be cut into such tiles.

    Raises:
        ValueError: the tile is not a multiple of `multiple`, or neighbours would share more than half of it.
    """
    if tile < 1 or tile % multiple:
        near = max(round(tile / multiple), 1) * multiple
        raise ValueError(f"tile: expected a multiple of {multiple}, which the network needs, got {tile}; try {near}")
    if not 0 <= overlap <= tile // 2:
        raise ValueError(f"overlap: expected 0 to {tile // 2}, half of the tile of {tile} pixels, got {overlap}")


def tile_starts(length: int, tile: int, overlap: int, multiple: int = 1) -> list[int]:
    """The first pixels of evenly spread tiles that cover `length` pixels; each is a multiple of `multiple`.

    Neighbours share at least `overlap` pixels, rounded up to `multiple`. The last tile ends at the end of the image
    after padding to `multiple`, so that a network gets the same grid and the same padding as with the whole image.
    """
    cells, of_tile = -(-length // multiple), tile // multiple
    if cells <= of_tile:
        return [0]
    step = max(of_tile - -(-overlap // multiple), 1)
    last = cells - of_tile
    count = -(-last // step)
    return [index * last // count * multiple for index in range(count + 1)]


def tile_weights(starts: list[int], tile: int, length: int) -> list[Tensor]:
    """The share of each tile in each of its pixels along one axis; the shares of all tiles sum to 1.

    Within an overlap the share rises linearly over the middle half. The outer quarters come from one of the tiles only,
    because at the edge of the other one the network does not see the pixels that follow in the whole image.

    Returns:
        For each tile float32 [n]; n is the tile's size, or less if the image ends before.
    """
    ends = [min(start + tile, length) for start in starts]
    raw = []
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        place = torch.arange(start, end, dtype=torch.float64) + 0.5
        share = torch.ones(end - start, dtype=torch.float64)
        if index > 0:
            share *= _rise(place - start, ends[index - 1] - start)
        if index + 1 < len(starts):
            share *= _rise(end - place, end - starts[index + 1])
        raw.append(share)
    total = torch.zeros(length, dtype=torch.float64)
    for start, end, share in zip(starts, ends, raw, strict=True):
        total[start:end] += share
    return [(share / total[start:end]).float() for start, end, share in zip(starts, ends, raw, strict=True)]


def _rise(distance: Tensor, overlap: int) -> Tensor:
    """Rises from 0 at a quarter of the overlap to 1 at three quarters."""
    return (2 * distance / overlap - 0.5).clamp(0, 1) if overlap else torch.ones_like(distance)


def tiled_rows(
    read: Read,
    run: Callable[[Tensor, slice, slice], Tensor],
    size: tuple[int, int],
    *,
    tile: int,
    overlap: int = OVERLAP,
    multiple: int = 1,
    scale: int = 1,
) -> Iterator[Tensor]:
    """Run a function on an image tile by tile, and give the blended result in bands of rows from top to bottom.

    The memory does not grow with the image's height: it contains one row of tiles, and its overlap with the next row.

    Args:
        read: gives a part of the image.
        run: [B, C, h, w] to [B, D, h·scale, w·scale], on the CPU; it also gets the rows and columns.
        size: height and width of the image.
        tile: side of the tiles in pixels, a multiple of `multiple`.
        overlap: smallest number of pixels that neighbours share, up to half the tile.
        multiple: the tiles start at multiples of this number.
        scale: size of the result divided by that of the image.

    Yields:
        [B, D, rows, width·scale]; the rows of all bands add up to height·scale.

    Raises:
        ValueError: as in `check_tiling`.
    """
    check_tiling(tile, overlap, multiple)
    height, width = size
    tops, lefts = (tile_starts(length, tile, overlap, multiple) for length in size)
    down = _fractions([top * scale for top in tops], tile * scale, height * scale)
    across = _fractions([left * scale for left in lefts], tile * scale, width * scale)
    band: Tensor | None = None
    for top, below, share in zip(tops, [*tops[1:], height], down, strict=True):
        rows = slice(top, min(top + tile, height))
        added = _band(read, run, rows, lefts, across, tile, width, scale)
        if band is not None:
            shared = band.shape[-2]
            added[..., :shared, :] = band.lerp(added[..., :shared, :], share[:shared, None])
        done = (below - top) * scale
        yield added[..., :done, :]
        band = added[..., done:, :].clone()


def _fractions(starts: list[int], tile: int, length: int) -> list[Tensor]:
    """How far each tile draws the blend of the tiles before it towards itself, in each of its pixels, 0 to 1.

    Blending one tile after another by these gives the shares of `tile_weights`; where all tiles agree, their value
    does not change by a bit.
    """
    total = torch.zeros(length, dtype=torch.float64)
    fractions = []
    for start, share in zip(starts, tile_weights(starts, tile, length), strict=True):
        place = slice(start, start + len(share))
        total[place] += share
        fractions.append(torch.where(total[place] > 0, share / total[place], 0.0).float())
    return fractions


def _band(
    read: Read,
    run: Callable[[Tensor, slice, slice], Tensor],
    rows: slice,
    lefts: list[int],
    across: list[Tensor],
    tile: int,
    width: int,
    scale: int,
) -> Tensor:
    """One row of tiles, blended: [B, D, h·scale, width·scale]."""
    parts = [slice(left, min(left + tile, width)) for left in lefts]
    band: Tensor | None = None
    for columns, share in zip(parts, across, strict=True):
        restored = run(read(rows, columns), rows, columns)
        if band is None:
            band = restored.new_zeros(*restored.shape[:-1], width * scale)
        place = slice(columns.start * scale, columns.start * scale + len(share))
        band[..., place] = band[..., place].lerp(restored, share)
    assert band is not None  # an image has at least one tile
    return band
