"""Adversarial losses on the logits of a discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.losses.reduction import in_full_precision
from uir.registry import LOSS_REGISTRY

Logits: TypeAlias = Tensor | Sequence[Tensor]
"""What a discriminator gives: logits of any shape, or one tensor for each of its scales."""
GAN_TYPES = ("vanilla", "lsgan", "wgan", "wgan_softplus", "hinge")


@LOSS_REGISTRY.register()
class GANLoss(nn.Module):
    """The adversarial loss of logits, for a discriminator or a generator. Arguments and results are as in BasicSR.

    Several tensors of logits (a discriminator with several scales) count equally.

    Args:
        gan_type: `vanilla` (cross-entropy, Goodfellow et al., NeurIPS 2014), `lsgan` (squared error, Mao et al., ICCV
            2017), `wgan` (the mean itself, Arjovsky et al., ICML 2017), `wgan_softplus` (as in StyleGAN) or `hinge`
            (Lim and Ye, 2017).
        real_label_val: label of real images for `vanilla` and `lsgan`.
        fake_label_val: label of restored images for `vanilla` and `lsgan`.
        loss_weight: factor on the generator's loss; the discriminator's has none.

    Raises:
        ValueError: the type is unknown.
    """

    inputs: ClassVar[tuple[str, ...]] = ("fake_logits",)

    def __init__(
        self, gan_type: str, real_label_val: float = 1.0, fake_label_val: float = 0.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        if gan_type not in GAN_TYPES:
            raise ValueError(f"gan_type: expected {', '.join(GAN_TYPES)}, got {gan_type!r}")
        self.gan_type = gan_type
        self.real_label_val = real_label_val
        self.fake_label_val = fake_label_val
        self.loss_weight = loss_weight

    def forward(self, logits: Logits, target_is_real: bool = True, is_disc: bool = False) -> Tensor:
        """The loss.

        Args:
            logits: of any shape, or several tensors.
            target_is_real: whether the images should be judged as real.
            is_disc: whether it is the discriminator's loss.
        """
        if not isinstance(logits, Tensor):
            return torch.stack([self(one, target_is_real, is_disc) for one in logits]).mean()
        loss = self._of(in_full_precision(logits), target_is_real, is_disc)
        return loss if is_disc else self.loss_weight * loss

    def _of(self, logits: Tensor, target_is_real: bool, is_disc: bool) -> Tensor:
        label = self.real_label_val if target_is_real else self.fake_label_val
        sign = -1 if target_is_real else 1
        if self.gan_type == "vanilla":
            return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
        if self.gan_type == "lsgan":
            return F.mse_loss(logits, torch.full_like(logits, label))
        if self.gan_type == "wgan":
            return sign * logits.mean()
        if self.gan_type == "wgan_softplus":
            return F.softplus(sign * logits).mean()
        return F.relu(1 + sign * logits).mean() if is_disc else -logits.mean()


def relative(logits: Logits, others: Logits) -> Logits:
    """Logits relative to the mean of the others', scale by scale (relativistic average, Jolicoeur-Martineau, 2018).

    Raises:
        ValueError: the two have different numbers of scales.
    """
    if isinstance(logits, Tensor) and isinstance(others, Tensor):
        return logits - others.mean()
    if isinstance(logits, Tensor) or isinstance(others, Tensor) or len(logits) != len(others):
        raise ValueError("relative: expected logits of the same number of scales, one tensor or a list for both")
    return [one - other.mean() for one, other in zip(logits, others, strict=True)]


def without_history(logits: Logits) -> Logits:
    """The same logits; no gradient flows through them."""
    return logits.detach() if isinstance(logits, Tensor) else [one.detach() for one in logits]


def mean_logit(logits: Logits) -> Tensor:
    """The mean of all logits, every scale counting equally."""
    if isinstance(logits, Tensor):
        return logits.detach().mean()
    return torch.stack([one.detach().mean() for one in logits]).mean()
