"""Filters on the CPU through OpenCV, in the fastest of three ways for each kernel.

Kernel values that together have at most `NEGLIGIBLE` of its weight are left out, so that images in [0, 1] differ from
the exact result by less than 1e-4. The bits depend neither on the number of threads nor on the memory layout.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np

NEGLIGIBLE = 2e-6  # fraction of a kernel's summed absolute weight
TILE = 11  # OpenCV uses an FFT for larger kernels, even if most values are zero

# milliseconds for a 400×400×3 image on one core of 2023; only the ratios matter
FFT_COST = 5.8
TAP_COST = 0.015
TILE_COST = 0.25
PASS_COST = 0.1
SIDE_COST = 0.02

Separable = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Tile:
    """A part of a kernel, and the position of its first row and column in the kernel."""

    row: int
    column: int
    taps: np.ndarray


def filter_planes(planes: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlate each plane with a kernel under reflect padding.

    Args:
        planes: [N, H, W] float32, contiguous; higher and wider than half the kernel.
        kernel: [K, L] float64; its centre is [K // 2, L // 2].

    Returns:
        [N, H, W] float32.
    """
    import cv2

    kernel = trimmed(kernel)
    tiles = tiles_of(without_negligible(kernel))
    tiled = sum(TILE_COST + TAP_COST * np.count_nonzero(tile.taps) for tile in tiles)
    terms = separable_terms(kernel, min(tiled, FFT_COST))
    if terms is None and tiled > FFT_COST:
        taps = kernel.astype(np.float32)
        return np.stack([cv2.filter2D(plane, -1, taps, borderType=cv2.BORDER_REFLECT_101) for plane in planes])
    if terms is None:
        return np.stack([_filter_by_tiles(plane, tiles, kernel.shape) for plane in planes])
    return np.stack([_filter_separably(plane, terms) for plane in planes])


def _filter_separably(plane: np.ndarray, terms: Separable) -> np.ndarray:
    import cv2

    passes = (cv2.sepFilter2D(plane, -1, row, column, borderType=cv2.BORDER_REFLECT_101) for column, row in terms)
    return functools.reduce(np.add, passes, np.zeros_like(plane)) if len(terms) != 1 else next(passes)


def _filter_by_tiles(plane: np.ndarray, tiles: list[Tile], sides: tuple[int, ...]) -> np.ndarray:
    import cv2

    (height, width), (above, left) = plane.shape, (side // 2 for side in sides)
    padded = cv2.copyMakeBorder(plane, above, sides[0] - above - 1, left, sides[1] - left - 1, cv2.BORDER_REFLECT_101)
    total = np.zeros_like(plane)
    for tile in tiles:
        rows, columns = tile.taps.shape
        part = padded[tile.row : tile.row + height + rows - 1, tile.column : tile.column + width + columns - 1]
        taps = tile.taps.astype(np.float32)
        total += cv2.filter2D(part, -1, taps, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)[:height, :width]
    return total


def trimmed(kernel: np.ndarray) -> np.ndarray:
    """The middle of a kernel, without the outer rows and columns of negligible values; the sum is kept."""
    rows, columns = (np.flatnonzero(without_negligible(kernel).any(axis)) for axis in (1, 0))
    if not len(rows):
        return kernel
    top, left = (min(lying[0], side - 1 - lying[-1]) for lying, side in zip((rows, columns), kernel.shape, strict=True))
    middle = kernel[top : kernel.shape[0] - top, left : kernel.shape[1] - left]
    return _with_sum_of(kernel, middle)


def without_negligible(kernel: np.ndarray) -> np.ndarray:
    """The kernel with its smallest values set to zero, while their total is negligible; the sum is kept."""
    sizes = np.abs(kernel).ravel()
    order = np.argsort(sizes, kind="stable")
    smallest = order[np.cumsum(sizes[order]) <= NEGLIGIBLE * sizes.sum()]
    taps = kernel.copy()
    taps.flat[smallest] = 0
    return _with_sum_of(kernel, taps)


def tiles_of(taps: np.ndarray) -> list[Tile]:
    """The non-zero values of a kernel, in tiles small enough to be applied value by value."""
    tiles = []
    whole = _shrunk(Tile(0, 0, taps))
    rows, columns = (_cuts(side) for side in whole.taps.shape)
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            part = whole.taps[top:bottom, left:right]
            if part.any():
                tiles.append(_shrunk(Tile(whole.row + top, whole.column + left, part)))
    return tiles


def separable_terms(kernel: np.ndarray, affordable: float) -> Separable | None:
    """Columns and rows whose outer products sum to the kernel, or None if filtering with all of them costs more.

    Cross approximation with full pivoting: subtract the outer product through the largest remaining value until the
    rest is negligible. A Gaussian along the axes needs one product, a turned one a few.
    """
    cost = PASS_COST + SIDE_COST * sum(kernel.shape)
    rest = kernel.copy()
    terms: Separable = []
    allowed = NEGLIGIBLE * np.abs(kernel).sum()
    while np.abs(rest).sum() > allowed:
        if (len(terms) + 1) * cost > affordable:
            return None
        row, column = divmod(int(np.abs(rest).argmax()), kernel.shape[1])
        terms.append((rest[:, column] / rest[row, column], rest[row].copy()))
        rest -= np.outer(*terms[-1])
    return terms


def _cuts(side: int) -> list[int]:
    count = -(-side // TILE)
    return [side * index // count for index in range(count + 1)] if count else [0]


def _shrunk(tile: Tile) -> Tile:
    rows, columns = (np.flatnonzero(tile.taps.any(axis)) for axis in (1, 0))
    if not len(rows):
        return Tile(0, 0, tile.taps[:0, :0])
    top, left = int(rows[0]), int(columns[0])
    return Tile(tile.row + top, tile.column + left, tile.taps[top : rows[-1] + 1, left : columns[-1] + 1])


def _with_sum_of(kernel: np.ndarray, part: np.ndarray) -> np.ndarray:
    kept_sum = part.sum()
    return part * (kernel.sum() / kept_sum) if abs(kept_sum) > NEGLIGIBLE else part.copy()
