"""The contextual distance of two images' features (Mechrez, Talmi and Zelnik-Manor, ECCV 2018)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-5


def contextual_distance(x: Tensor, y: Tensor, bandwidth: float = 0.5) -> Tensor:
    """How badly the features of `y` are represented in those of `x`, wherever in the image they are.

    d is the cosine distance of features that are centred by the channel means of `y`, d̃ = d / (its minimum over the
    places of `y` + 1e-5), and w = exp((1 − d̃) / h), normalised over the places of `y`. The similarity is the mean over
    the places of `y` of the largest w (Eqs. 2 to 4).

    Args:
        x, y: features [B, C, h, w]; computed in full precision.
        bandwidth: h of Eq. 3; a small one lets only the nearest features count.

    Returns:
        [B], −log(similarity + 1e-5), at least about 0.

    Raises:
        ValueError: the numbers of images or channels differ.
    """
    if x.shape[:2] != y.shape[:2]:
        raise ValueError(f"expected features of as many channels, got {list(x.shape)}, {list(y.shape)}")
    with torch.autocast(x.device.type, enabled=False):
        x, y = (maps if maps.dtype == torch.float64 else maps.float() for maps in (x, y))
        mean = y.mean((0, 2, 3), keepdim=True)
        x, y = (F.normalize((maps - mean).flatten(2), dim=1) for maps in (x, y))
        distance = (1 - x.mT @ y).clamp_min(0)
        relative = distance / (distance.amin(2, keepdim=True) + EPSILON)
        similarity = ((1 - relative) / bandwidth).softmax(2)
        return -(similarity.amax(1).mean(1) + EPSILON).log()
