"""Feature matching: restored and real images look alike inside the discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.losses.reduction import matched
from uir.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class FeatureMatchingLoss(nn.Module):
    """Four times the mean L1 distance of a discriminator's features (pix2pixHD, Wang et al., CVPR 2018, Eq. 4).

    The published sum, Σ over scales and layers of 4/(n + 1)/scales · L1, has n + 1 layers a scale, so it is this mean.
    The discriminator must declare `feature_points()`.

    Args:
        loss_weight: λ; 10 as published.
    """

    inputs: ClassVar[tuple[str, ...]] = ("fake_features", "real_features")

    def __init__(self, loss_weight: float = 10.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
        """The loss of the features of restored and of real images; the latter get no gradient.

        Raises:
            ValueError: their numbers or shapes differ.
        """
        if len(fake) != len(real) or not fake:
            raise ValueError(f"expected as many features of both images, got {len(fake)} and {len(real)}")
        parts = [F.l1_loss(*matched(one, other.detach())) for one, other in zip(fake, real, strict=True)]
        return self.loss_weight * 4 * torch.stack(parts).mean()
