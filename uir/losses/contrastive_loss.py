"""Losses that compare degradation codes: which images have the same degradation, and which do not.

Every such class has two attributes: `needs`, the fields of `DegradationCode` that the encoder must fill, and `inputs`,
the arguments of its `forward`, in order, by the names that the training method offers (`uir.models.values`).

Weights: DASR, CDSR and DAA measure pixels on the scale 0-255. An L1 loss in [0, 1] is 255 times smaller. So the
published `L1 + w * contrast` becomes `loss_weight: w/255` (1/255 = 0.00392157) beside an L1Loss of weight 1. AirNet's
images are in [0, 1], so its weight of 0.1 is unchanged.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.degradation_code import DegradationCode
from uir.losses.reduction import in_full_precision
from uir.registry import LOSS_REGISTRY


class CodeLoss(nn.Module):
    """The common part of losses on unit vectors.

    Args:
        temperature: similarities are divided by it.
        loss_weight: factor on the result.

    Raises:
        ValueError: the temperature is not above 0.
    """

    needs: ClassVar[tuple[str, ...]] = ("projection",)
    inputs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, temperature: float = 0.07, loss_weight: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature: expected a number above 0, got {temperature}")
        self.temperature = temperature
        self.loss_weight = loss_weight

    def unit(self, code: DegradationCode) -> Tensor:
        """The code's projection [B, D] as unit vectors in full precision."""
        return F.normalize(in_full_precision(code.require("projection", type(self).__name__)), dim=1)

    def check_pairs(self, one: Tensor, other: Tensor) -> None:
        """Refuse unit vectors that are not there for the same images: broadcasting would hide a mistake."""
        if one.shape != other.shape:
            raise ValueError(
                f"{type(self).__name__}: expected values of the same images, got {list(one.shape)} and "
                f"{list(other.shape)}"
            )

    def similarity(self, one: Tensor, other: Tensor) -> Tensor:
        """one [..., N, D] · other [..., M, D] over the temperature, [..., N, M]; in full precision, autocast or not."""
        with torch.autocast(one.device.type, enabled=False):
            return one @ other.to(one).mT / self.temperature


@LOSS_REGISTRY.register()
class InfoNCELoss(CodeLoss):
    """Two patches of one image are similar, those of other images are not (MoCo, He et al., CVPR 2020, Eq. 1; DASR).

    −log of the softmax probability of the key with the query's degradation, among this key and the keys of the queue.
    Needs a `projection`. For the weight beside a pixel loss, see the top of this file.

    Args:
        temperature: DASR uses 0.07.
        loss_weight: factor on the result; 1/255 gives DASR's balance with an L1 loss of images in [0, 1].

    Raises:
        ValueError: the temperature is not above 0.
    """

    inputs: ClassVar[tuple[str, ...]] = ("code", "key", "queue")

    def logits(self, code: DegradationCode, key: DegradationCode, queue: Tensor | None = None) -> Tensor:
        """[B, 1 + K], the right key first; without a queue [B, B] among the batch's keys: key i is right for i."""
        query, positive = self.unit(code), self.unit(key.detach())
        self.check_pairs(query, positive)
        if queue is None:
            return self.similarity(query, positive)
        right = (query * positive).sum(1, keepdim=True) / self.temperature
        return torch.cat([right, self.similarity(query, queue)], 1)

    def forward(self, code: DegradationCode, key: DegradationCode, queue: Tensor | None = None) -> Tensor:
        """The loss of projections [B, D] against their keys [B, D] and a queue of unit vectors [K, D].

        Raises:
            ValueError: a code lacks its projection, or there are not as many keys.
        """
        logits = self.logits(code, key, queue)
        right = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        if queue is None:
            right = torch.arange(len(logits), device=logits.device)
        return self.loss_weight * F.cross_entropy(logits, right)


@LOSS_REGISTRY.register()
class SupConLoss(CodeLoss):
    """Images with the same label are similar (Khosla et al., NeurIPS 2020, Eq. 2); for records that name their task.

    Σ over images with a partner of −mean over its partners p of log softmax(z·z_p / T), over all others of the batch.
    Images without a label or a partner do not count. Needs a `projection`.

    Args:
        temperature: the paper uses 0.07 to 0.1.
        loss_weight: factor on the result.

    Raises:
        ValueError: the temperature is not above 0.
    """

    inputs: ClassVar[tuple[str, ...]] = ("code", "labels")

    def forward(self, code: DegradationCode, labels: Tensor) -> Tensor:
        """The mean over the images that have a partner, for projections [B, D] and labels [B]; -1 means unknown.

        Raises:
            ValueError: the code lacks its projection, or there is not one label for each image.
        """
        unit = self.unit(code)
        if labels.shape != unit.shape[:1]:
            raise ValueError(f"SupConLoss: expected {len(unit)} labels, got {list(labels.shape)}")
        itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        partner = (labels[:, None] == labels[None]) & (labels >= 0)[:, None] & ~itself
        logits = self.similarity(unit, unit).masked_fill(itself, -torch.inf)
        probability = logits.log_softmax(1).masked_fill(~partner, 0)
        partners = partner.sum(1)
        each = -probability.sum(1) / partners.clamp_min(1)
        return self.loss_weight * each.sum() / (partners > 0).sum().clamp_min(1)


@LOSS_REGISTRY.register()
class CodebookLoss(nn.Module):
    """Keeps the entries of an encoder's codebook apart: the mean squared cosine between two different entries.

    It is 0 if all entries are orthogonal. CDSR trains its codebook (paper Sec. 3.3) only by the losses that follow it;
    this term is for codebooks that collapse.

    Args:
        loss_weight: factor on the result.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    inputs: ClassVar[tuple[str, ...]] = ("codebook",)

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, codebook: Tensor) -> Tensor:
        """The loss of codebook entries [N, C], at least two.

        Raises:
            ValueError: there are fewer than two.
        """
        count = len(codebook)
        if codebook.ndim != 2 or count < 2:
            raise ValueError(f"CodebookLoss: expected entries [N, C], N at least 2, got {list(codebook.shape)}")
        with torch.autocast(codebook.device.type, enabled=False):
            unit = F.normalize(in_full_precision(codebook), dim=1)
            # ΣΣ (u_i·u_j)² over all pairs is the squared Frobenius norm of UᵀU, which is C×C instead of N×N.
            total = (unit.T @ unit).square().sum() - unit.square().sum(1).square().sum()
        return self.loss_weight * total / (count * (count - 1))
