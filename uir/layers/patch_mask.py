"""Masks that hide square patches of an image, and the features at the same positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from uir.core.seeds import torch_generator
from uir.layers.tokens import tokens_to_map


def patch_mask(seeds: Sequence[int], height: int, width: int, patch: int, ratio: float) -> Tensor:
    """The visible pixels: float32 [B, 1, height, width], 0 in hidden patches, 1 elsewhere.

    Of the n patches of an image, `ratio`·n (rounded) are hidden; all such sets are equally likely. Patches at the right
    and bottom edges are cut.

    Args:
        seeds: one for each image.
        height, width: size of the images.
        patch: side of a patch in pixels, at least 1.
        ratio: in [0, 1).

    Raises:
        ValueError: `patch` or `ratio` is out of range.
    """
    if patch < 1 or not 0 <= ratio < 1:
        raise ValueError(f"patch_mask: expected a patch of at least 1 and a ratio in [0, 1), got {patch} and {ratio}")
    rows, columns = -(-height // patch), -(-width // patch)
    hidden = round(ratio * rows * columns)
    shown = torch.ones(len(seeds), rows * columns)
    for image, seed in zip(shown, seeds, strict=True):
        image[torch.randperm(rows * columns, generator=torch_generator(seed))[:hidden]] = 0.0
    grid = shown.view(-1, 1, rows, columns)
    return grid.repeat_interleave(patch, 2).repeat_interleave(patch, 3)[..., :height, :width].contiguous()


def hide(features: Tensor, mask: Tensor) -> Tensor:
    """The features, set to zero where the mask is zero.

    Args:
        features: [B, C, h, w], or tokens [B, N, C] on the image's grid.
        mask: [B, 1, H, W]; sampled at the nearest pixel if the sizes differ.
    """
    if features.ndim == 4:
        return features * F.interpolate(mask, features.shape[-2:], mode="nearest").to(features.dtype)
    height, width = tokens_to_map(features, mask).shape[-2:]
    return features * F.interpolate(mask, (height, width), mode="nearest").flatten(2).transpose(1, 2).to(features.dtype)
