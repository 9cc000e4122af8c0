"""Learning to rank: stronger degradation must give a higher score (DAA, Wang et al., ACCV 2022)."""

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
    """Ranks versions of one image by the scores of their codes; needs a `score`.

    The versions are: the query; its equal (another patch with the same degradation); the changed ones c (one factor is
    changed, order +1 if more severe than the query); the clean one. s are their scores, and
    rank(a > b) = max(0, margin − (a − b)):

        Σ_c rank by their order + clean_weight Σ_{all others} rank(other > clean)
        + equal_weight (|s_query − sg(s_equal)| + |s_equal − sg(s_query)|) + zero_weight |s_clean|

    sg stops the gradient. Each term is its mean over the batch. A changed version's term is the sum of two means: over
    the images that became more severe, and over those that became less severe. Each mean is 0 without such images, and
    an image as severe as its query counts in neither. The authors do the same, and the weights depend on it.
    DAA uses weight 0.2 for the sum beside an L1 loss of images of 0-255: `loss_weight: 0.000784314` (0.2/255) here.

    Args:
        margin: the smallest difference that scores should have.
        clean_weight, equal_weight, zero_weight: weights of the terms.
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
        """The loss of R codes with scores [B]: the query, its equal, the changed versions, the clean image.

        Args:
            renditions: their codes.
            orders: [B, R], 1, 0 or -1: whether each is more severe than the query.

        Raises:
            ValueError: there are fewer than three codes, a code lacks its score, or the orders have another shape.
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
        """The amount by which each image's [B] score difference is below the margin."""
        return (self.margin - (higher - lower)).clamp_min(0)


def _mean_of(values: Tensor, chosen: Tensor) -> Tensor:
    """The mean of the chosen values; 0 if there are none."""
    return values.where(chosen, 0).sum() / chosen.sum().clamp_min(1)
