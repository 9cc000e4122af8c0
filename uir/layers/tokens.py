"""Tokens, the layout of window transformers, and images."""

from __future__ import annotations

import math

from torch import Tensor


def tokens_to_map(tokens: Tensor, image: Tensor) -> Tensor:
    """Arrange tokens on the grid of an image: [B, N, C] to [B, C, h, w] with h·w = N.

    The grid has the aspect ratio nearest to the image's; it may be coarser, or padded to full windows.

    Args:
        tokens: [B, N, C], row by row.
        image: [B, any, H, W]; only its shape is used.

    Raises:
        ValueError: `tokens` does not have three dimensions, or no grid of N tokens has an aspect ratio within a factor
            of 1.5 of the image's.
    """
    if tokens.ndim != 3:
        raise ValueError(f"expected tokens [B, N, C], got {list(tokens.shape)}")
    count = tokens.shape[1]
    aspect = image.shape[-2] / image.shape[-1]
    divisors = [rows for rows in range(1, count + 1) if count % rows == 0]
    rows = min(divisors, key=lambda rows: abs(math.log(rows * rows / count / aspect)))
    if abs(math.log(rows * rows / count / aspect)) > math.log(1.5):
        raise ValueError(f"{count} tokens do not fit an image of {image.shape[-2]}×{image.shape[-1]} pixels")
    return tokens.transpose(1, 2).unflatten(2, (rows, count // rows))
