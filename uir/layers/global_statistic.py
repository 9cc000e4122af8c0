"""Marks a value that a network computes over all pixels of its input."""

from __future__ import annotations

from torch import nn


class GlobalStatistic(nn.Identity):
    """Passes on a value that depends on all pixels, such as the scores of attention between channels.

    It changes nothing. When an image is restored in tiles, all tiles get the value of the whole image here (see
    `uir.inference.pooled_statistics`), as from `nn.AdaptiveAvgPool2d(1)`.
    """
