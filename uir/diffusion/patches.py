"""Estimates of overlapping patches, averaged in every pixel: WeatherDiff (Özdenizci and Legenstein, TPAMI 2023)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def corners(length: int, patch: int, stride: int) -> list[int]:
    """The first pixels of patches that cover `length` pixels: 0, stride, 2 · stride, ..., and one that ends at the end.

    Raises:
        ValueError: the length is smaller than a patch, or patches would leave gaps.
    """
    if length < patch or not 1 <= stride <= patch:
        raise ValueError(f"patches of {patch} pixels with a stride of {stride} do not cover {length} pixels")
    starts = list(range(0, length - patch + 1, stride))
    return starts if starts[-1] + patch == length else [*starts, length - patch]


def places(size: tuple[int, int], patch: int, stride: int) -> list[tuple[slice, slice]]:
    """Rows and columns of all patches of an image, from top to bottom."""
    return [
        (slice(top, top + patch), slice(left, left + patch))
        for top in corners(size[0], patch, stride)
        for left in corners(size[1], patch, stride)
    ]


def coverage(size: tuple[int, int], patch: int, stride: int) -> Tensor:
    """How many patches contain each pixel: [H, W], at least 1."""
    count = torch.zeros(size, device="cpu")
    for rows, columns in places(size, patch, stride):
        count[rows, columns] += 1
    return count


def averaged(
    estimate: Callable[[Tensor, Tensor], Tensor],
    state: Tensor,
    degraded: Tensor,
    patch: int,
    stride: int,
    group: int = 64,
) -> Tensor:
    """The mean over all patches of what is estimated for each of them: as large as the state.

    Args:
        estimate: gives the noise [N, C, patch, patch] for patches of the state and of the degraded image.
        state: [B, C, H, W].
        degraded: [B, 3, H, W].
        patch: side of a patch in pixels.
        stride: pixels from patch to patch.
        group: patches that are estimated at once.
    """
    size = (state.shape[-2], state.shape[-1])
    total = torch.zeros_like(state)
    for some in _groups(places(size, patch, stride), max(group // len(state), 1)):
        estimated = estimate(
            *(torch.cat([whole[..., rows, columns] for rows, columns in some]) for whole in (state, degraded))
        )
        for part, (rows, columns) in zip(estimated.to(total).split(len(state)), some, strict=True):
            total[..., rows, columns] += part
    return total / coverage(size, patch, stride).to(total)


def _groups(entries: list[tuple[slice, slice]], count: int) -> Iterator[list[tuple[slice, slice]]]:
    for first in range(0, len(entries), count):
        yield entries[first : first + count]
