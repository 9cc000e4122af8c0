"""Losses on the routers of networks with experts."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from uir.losses.reduction import in_full_precision
from uir.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class RouterBalanceLoss(nn.Module):
    """How unevenly the routers of network_g use their experts: the mean of its `router_balance`, times the weight.

    MoCE-IR (Zamfir et al., CVPR 2025, Eq. 7) uses 0.01; its balance weights each expert by its parameters.

    Args:
        loss_weight: factor on the result.
    """

    inputs: ClassVar[tuple[str, ...]] = ("router_balance",)

    def __init__(self, loss_weight: float = 0.01) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, balance: Tensor) -> Tensor:
        """The loss of the balance of each router [R]; 0 if all experts are used evenly."""
        return self.loss_weight * in_full_precision(balance).mean()
