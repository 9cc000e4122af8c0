"""Losses on the hubs of IDR (Zhang et al., CVPR 2023)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.losses.reduction import in_full_precision
from uir.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class SideOutputLoss(nn.Module):
    """The sum over the encoder's levels of the mean absolute error of its image and `gt`, brought to its size.

    Args:
        loss_weight: factor on the result.
    """

    inputs: ClassVar[tuple[str, ...]] = ("side_outputs", "gt")

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, sides: list[Tensor], gt: Tensor) -> Tensor:
        """The loss of images [B, 3, h, w] and `gt` [B, 3, H, W].

        Raises:
            ValueError: the numbers of images differ.
        """
        gt = in_full_precision(gt)
        if any(len(side) != len(gt) for side in sides):
            raise ValueError(f"SideOutputLoss: expected {len(sides[0])} clean images, got {len(gt)}")
        errors = []
        for side in sides:
            small = F.interpolate(gt, side.shape[-2:], mode="bilinear", align_corners=False)
            errors.append(F.l1_loss(in_full_precision(side), small))
        return self.loss_weight * torch.stack(errors).sum()


@LOSS_REGISTRY.register()
class HubLoss(nn.Module):
    """Cross-entropy of the hubs' probabilities with smoothed labels, divided by the number of hubs; summed over levels.

    Args:
        loss_weight: factor on the result; IDR's is 0.01.
        smoothing: share of a label that goes to the other hubs in equal parts.

    Raises:
        ValueError: `smoothing` is out of range.
    """

    inputs: ClassVar[tuple[str, ...]] = ("hub_logits", "hub_index")

    def __init__(self, loss_weight: float = 0.01, smoothing: float = 0.1) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ValueError(f"HubLoss.smoothing: expected a number from 0 up to 1, got {smoothing}")
        self.loss_weight, self.smoothing = loss_weight, smoothing

    def forward(self, logits: Tensor, hubs: Tensor) -> Tensor:
        """The loss of logits [B, levels, N] and indices [B].

        Raises:
            ValueError: the numbers of images differ.
        """
        if len(logits) != len(hubs):
            raise ValueError(f"HubLoss: expected a hub for each of {len(logits)} images, got {len(hubs)}")
        count = logits.shape[2]
        labels = F.one_hot(hubs, count).float()
        labels = labels * (1 - self.smoothing) + (1 - labels) * self.smoothing / (count - 1)
        entropy = -(labels[:, None] * in_full_precision(logits).log_softmax(2)).sum(2)
        return self.loss_weight * entropy.mean(0).sum() / count
