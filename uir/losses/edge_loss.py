"""Losses on the edges of images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.losses.reduction import matched
from uir.registry import LOSS_REGISTRY

_CRITERIA = {"l1": F.l1_loss, "l2": F.mse_loss}


@LOSS_REGISTRY.register()
class SobelEdgeLoss(nn.Module):
    """Distance of two images' edge strengths (the edge term of EP-GAN, whose distance is the mean square).

    The strength is √(Gx² + Gy² + eps) of each channel, with Sobel's filters divided by 8, so that a slope of 1 per
    pixel has strength 1. The border is repeated.

    Args:
        loss_weight: factor on the result. The authors' value is not published.
        eps: keeps the gradient finite where there is no edge.
        criterion: `l2`, the mean squared difference, as published, or `l1`, the mean absolute one.

    Raises:
        ValueError: eps is not above 0, or the criterion is another word.
    """

    kernels: Tensor

    def __init__(self, loss_weight: float = 1.0, eps: float = 1e-6, criterion: str = "l2") -> None:
        super().__init__()
        if criterion not in _CRITERIA:
            raise ValueError(f"criterion: expected {', '.join(_CRITERIA)}, got {criterion!r}")
        if eps <= 0:
            raise ValueError(f"eps: expected a number above 0, got {eps}")
        self.loss_weight = loss_weight
        self.eps = eps
        self.criterion = criterion
        across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        self.register_buffer("kernels", torch.stack([across, across.T])[:, None], persistent=False)

    def strength(self, image: Tensor) -> Tensor:
        """Edge strength [B, C, H, W] of an image of this shape."""
        flat = F.pad(image.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
        slopes = F.conv2d(flat, self.kernels.to(image))
        return (slopes.square().sum(1) + self.eps).sqrt().view(image.shape)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of a pair [B, C, H, W].

        Raises:
            ValueError: the shapes differ.
        """
        prediction, target = matched(prediction, target)
        return self.loss_weight * _CRITERIA[self.criterion](self.strength(prediction), self.strength(target))
