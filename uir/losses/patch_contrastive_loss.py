"""CRL-SR's losses (Zhang et al., arXiv 2107.00708), which compare patches inside an image.

The authors' code is not public, and the abstract gives no formula, weight or temperature. What is known: the local
features of a degraded image and of the clean one are compared; the two of one place are positives; the others of the
same image are negatives, because patches of other images would be too easy to tell apart; and a regulariser enlarges
the difference between high- and low-frequency features. The formulas below are our reading.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from uir.layers.degradation_code import CodeField, DegradationCode
from uir.losses.contrastive_loss import CodeLoss
from uir.losses.reduction import in_full_precision
from uir.registry import LOSS_REGISTRY


class PatchLoss(CodeLoss):
    """The common part of losses that compare patches of one image."""

    needs: ClassVar[tuple[str, ...]] = ("local",)

    def patches(self, code: DegradationCode, field: CodeField, size: tuple[int, int] | None = None) -> Tensor:
        """Local features [B, D, h, w] as unit vectors [B, N, D] in full precision; averaged to a `size` if given."""
        features = in_full_precision(code.require(field, type(self).__name__))
        if features.ndim != 4:
            raise ValueError(f"{type(self).__name__}: expected `{field}` [B, D, h, w], got {list(features.shape)}")
        if size is not None:
            features = F.adaptive_avg_pool2d(features, size)
        return F.normalize(features.flatten(2).mT, dim=2)

    def check_count(self, patches: Tensor) -> None:
        """Refuse images of a single patch, which leave nothing to compare."""
        if patches.shape[1] < 2:
            raise ValueError(
                f"{type(self).__name__}: compares the patches of an image; expected at least 2, got "
                f"{patches.shape[1]}; raise gt_size"
            )


@LOSS_REGISTRY.register()
class BidirectionalContrastiveLoss(PatchLoss):
    """A patch of the degraded image is like the same patch of the clean one, and unlike the others of that image.

    CRL-SR's decoupling: what does not depend on the degradation stays. With l_i of the degraded image, h_i of the clean
    one at its size, and s = cosine / temperature:

        mean over images and i of (−log e^s(l_i, h_i) / Σ_j e^s(l_i, h_j)  −log e^s(h_i, l_i) / Σ_j e^s(h_i, l_j)) / 2

    Needs `local`.

    Args:
        temperature: the paper's value is not known; MoCo's is used.
        own_negatives: the other patches of the anchor's own image are negatives too: Σ_{j≠i} e^s(l_i, l_j) joins the
            first sum, Σ_{j≠i} e^s(h_i, h_j) the second.
        loss_weight: factor on the result.

    Raises:
        ValueError: the temperature is not above 0.
    """

    inputs: ClassVar[tuple[str, ...]] = ("code", "small_gt_code")

    def __init__(self, temperature: float = 0.07, own_negatives: bool = False, loss_weight: float = 1.0) -> None:
        super().__init__(temperature, loss_weight)
        self.own_negatives = own_negatives

    def forward(self, code: DegradationCode, clean_code: DegradationCode) -> Tensor:
        """The loss of the local features [B, D, h, w] of degraded images and of the clean ones, in the same order.

        Raises:
            ValueError: a code lacks its local features, their shapes differ, or there is only one for each image.
        """
        degraded, clean = self.patches(code, "local"), self.patches(clean_code, "local")
        self.check_pairs(degraded, clean)
        self.check_count(degraded)
        return self.loss_weight * (self._one_way(degraded, clean) + self._one_way(clean, degraded)) / 2

    def _one_way(self, anchors: Tensor, others: Tensor) -> Tensor:
        """The loss of finding each anchor's place among the others, [B, N, D] each."""
        images, count = anchors.shape[:2]
        logits = self.similarity(anchors, others)
        if self.own_negatives:
            itself = torch.eye(count, dtype=torch.bool, device=anchors.device)
            own = self.similarity(anchors, anchors).masked_fill(itself, -torch.inf)
            logits = torch.cat([logits, own], 2)
        right = torch.arange(count, device=anchors.device).repeat(images)
        return F.cross_entropy(logits.flatten(0, 1), right)


@LOSS_REGISTRY.register()
class ConditionalContrastiveLoss(PatchLoss):
    """A patch of the restored image has the high frequencies of the same clean patch (CRL-SR's refinement).

    With the high-frequency features sr_i of the restored image and h_i of the clean one, the low-frequency features l_i
    of the degraded one (the condition; no gradient reaches them), and s = cosine / temperature:

        mean of −log e^s(sr_i, h_i) / (Σ_j e^s(sr_i, h_j) + e^s(sr_i, l_i))
        + difference_weight · mean of cosine(h_i, l_i)

    The second term enlarges the difference of high and low frequencies. The momentum encoder gives sr_i, so that the
    gradient reaches the restored image and not the encoder; `network_e` gives the others, and learns by h_i. High
    frequencies of finer patches are averaged over the area of a low-frequency one. Needs `local` and `detail`.

    Args:
        temperature: the paper's value is not known; MoCo's is used.
        difference_weight: weight of the second term; the paper's is not known.
        loss_weight: factor on the result.

    Raises:
        ValueError: the temperature is not above 0.
    """

    needs: ClassVar[tuple[str, ...]] = ("local", "detail")
    inputs: ClassVar[tuple[str, ...]] = ("restored_detail", "gt_detail", "code")

    def __init__(self, temperature: float = 0.07, difference_weight: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(temperature, loss_weight)
        self.difference_weight = difference_weight

    def forward(self, restored: DegradationCode, clean: DegradationCode, degraded: DegradationCode) -> Tensor:
        """The loss of the codes of restored, clean and degraded images, in the same order.

        Raises:
            ValueError: a code lacks its features, there are not as many of each, or there is one patch for each image.
        """
        low = self.patches(degraded.detach(), "local")
        grid = degraded.require("local", type(self).__name__).shape[-2:]
        anchors, high = (self.patches(code, "detail", (grid[0], grid[1])) for code in (restored, clean))
        self.check_pairs(anchors, high)
        self.check_pairs(anchors, low)
        self.check_count(anchors)
        condition = (anchors * low).sum(2, keepdim=True) / self.temperature
        logits = torch.cat([self.similarity(anchors, high), condition], 2)
        right = torch.arange(anchors.shape[1], device=anchors.device).repeat(len(anchors))
        contrast = F.cross_entropy(logits.flatten(0, 1), right)
        return self.loss_weight * (contrast + self.difference_weight * (high * low).sum(2).mean())
