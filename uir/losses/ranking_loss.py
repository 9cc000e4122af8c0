"""Learning to rank: what is degraded more shall score higher (DAA, Wang et al., ACCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.degradation_code import DegradationCode
from uir.losses.reduction import in_full_precision
from uir.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class MarginRankingLoss(nn.Module):
    """Ranks renditions of one image by the scores of their codes; needs a `score`.

    With the scores s of the query, of its equal (another patch degraded alike), of the changed ones c (one factor each,
    order +1 where more severe than the query) and of the clean one, and rank(a > b) = max(0, margin − (a − b)):

        Σ_c rank by their order + clean_weight Σ_{all others} rank(other > clean)
        + equal_weight (|s_query − sg(s_equal)| + |s_equal − sg(s_query)|) + zero_weight |s_clean|

    sg stops the gradient. A term is its mean over the batch, but that of a changed one two means added: over the images
    that became more severe, and over those that became less, each 0 where there are none; what is as severe as its
    query counts in neither. So the authors have it, and the weights go with it.
    DAA weighs the sum with 0.2 beside an L1 loss of images of 0-255: `loss_weight: 0.000784314` (0.2/255) in [0, 1].

    Args:
        margin: by which scores shall differ.
        clean_weight, equal_weight, zero_weight: of the terms.
        loss_weight: factor on the result.

    Raises:
        ValueError: the margin is negative.
    """

    needs: ClassVar[tuple[str, ...]] = ("score",)
    inputs: ClassVar[tuple[str, ...]] = ("renditions", "orders")

    def __init__(
        self,
        margin: float = 0.5,
        clean_weight: float = 0.2,
        equal_weight: float = 5.0,
        zero_weight: float = 2.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if margin < 0:
            raise ValueError(f"margin: expected at least 0, got {margin}")
        self.margin = margin
        self.clean_weight, self.equal_weight, self.zero_weight = clean_weight, equal_weight, zero_weight
        self.loss_weight = loss_weight

    def forward(self, renditions: Sequence[DegradationCode], orders: Tensor) -> Tensor:
        """The loss of R codes with scores [B]: the query, its equal, the changed ones, the clean one.

        Args:
            renditions: their codes.
            orders: [B, R], 1, 0 or -1: whether each is more severe than the query.

        Raises:
            ValueError: there are fewer than three, a code lacks its score, or the orders have another shape.
        """
        scores = [in_full_precision(code.require("score", "MarginRankingLoss")) for code in renditions]
        if len(scores) < 3 or orders.shape != (len(scores[0]), len(scores)):
            raise ValueError(
                f"MarginRankingLoss: expected at least 3 renditions and orders [B, R], got {len(scores)} renditions "
                f"of {len(scores[0]) if scores else 0} images and orders {list(orders.shape)}"
            )
        query, equal, *changed, clean = scores
        total = self.zero_weight * clean.abs().mean()
        total = total + self.equal_weight * (F.l1_loss(query, equal.detach()) + F.l1_loss(equal, query.detach()))
        for index, score in enumerate(changed, start=2):
            more, less = orders[:, index] > 0, orders[:, index] < 0
            total = total + _mean_of(self._rank(score, query), more) + _mean_of(self._rank(query, score), less)
        for score in (query, equal, *changed):
            total = total + self.clean_weight * self._rank(score, clean).mean()
        return self.loss_weight * total

    def _rank(self, higher: Tensor, lower: Tensor) -> Tensor:
        """What each image [B] lacks of a higher score by the margin."""
        return (self.margin - (higher - lower)).clamp_min(0)


def _mean_of(values: Tensor, chosen: Tensor) -> Tensor:
    """The mean of the chosen values; 0 where there are none."""
    return values.where(chosen, 0).sum() / chosen.sum().clamp_min(1)
