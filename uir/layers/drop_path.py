"""Stochastic depth: leave out residual branches during training."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class DropPath(nn.Module):
    """Leaves out a whole branch, sample by sample (Deep Networks with Stochastic Depth, Huang et al., ECCV 2016).

    [B, ...] to the same shape; kept samples are divided by the probability of keeping. Eval mode changes nothing.

    Args:
        rate: probability of leaving the branch out, in [0, 1).
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """The branch, or zeros instead."""
        if self.rate == 0 or not self.training:
            return branch
        return branch * F.dropout(branch.new_ones(branch.shape[0], *[1] * (branch.ndim - 1)), self.rate)

    def extra_repr(self) -> str:
        """The rate, for printing."""
        return f"rate={self.rate}"
