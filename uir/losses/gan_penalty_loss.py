"""Penalties on the gradient of a discriminator with respect to its image. The discriminator minimises them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.core.seeds import torch_generator
from uir.losses.gan_loss import Logits
from uir.registry import LOSS_REGISTRY

Judge = Callable[[Tensor], Logits]


@LOSS_REGISTRY.register()
class R1Loss(nn.Module):
    """R1: half of the mean squared norm of the gradient at real images (Mescheder et al., ICML 2018, Eq. 9).

    Args:
        loss_weight: γ.
        every: compute it in every so many steps only, and then multiply it by this number (StyleGAN2). A step without
            it gives 0.

    Raises:
        ValueError: `every` is less than 1.
    """

    inputs: ClassVar[tuple[str, ...]] = ("discriminator", "real_images")
    minimised_by: ClassVar[str] = "d"

    def __init__(self, loss_weight: float = 10.0, every: int = 1) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every: expected at least 1, got {every}")
        self.loss_weight = loss_weight
        self.every = every
        self.steps = 0

    def forward(self, discriminator: Judge, real: Tensor) -> Tensor:
        """The penalty of a discriminator at real images [B, C, H, W]."""
        self.steps += 1
        if self.steps % self.every:
            return real.new_zeros(())
        squared = _gradient(discriminator, real).square().flatten(1).sum(1)
        return self.loss_weight * self.every / 2 * squared.mean()

    def kept_state(self) -> dict[str, Any]:
        """The number of steps, for the training state."""
        return {"steps": self.steps}

    def load_kept_state(self, state: dict[str, Any]) -> None:
        """Go on from `kept_state`."""
        self.steps = state["steps"]


@LOSS_REGISTRY.register()
class GradientPenaltyLoss(nn.Module):
    """WGAN-GP: mean of (‖gradient‖ − 1)² between real and restored images (Gulrajani et al., NeurIPS 2017, Eq. 3).

    The norm is that of an image. BasicSR's function takes the norm over the channels of each pixel instead.

    Args:
        loss_weight: λ.
        seed: of the random points between the images; a resumed run goes on exactly.
        legacy: take the norm of each pixel, as BasicSR does.
    """

    inputs: ClassVar[tuple[str, ...]] = ("discriminator", "real_images", "restored")
    minimised_by: ClassVar[str] = "d"

    def __init__(self, loss_weight: float = 10.0, seed: int = 0, legacy: bool = False) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.seed = seed
        self.legacy = legacy
        self.steps = 0

    def forward(self, discriminator: Judge, real: Tensor, restored: Tensor) -> Tensor:
        """The penalty of a discriminator between images of equal shape [B, C, H, W].

        Raises:
            ValueError: the shapes differ.
        """
        if real.shape != restored.shape:
            raise ValueError(f"expected images of equal shape, got {list(real.shape)} and {list(restored.shape)}")
        self.steps += 1
        share = torch.rand(len(real), 1, 1, 1, generator=torch_generator(self.seed, "gradient penalty", self.steps))
        share = share.to(real.device)
        gradient = _gradient(discriminator, share * real.detach() + (1 - share) * restored.detach())
        norm = torch.linalg.vector_norm(gradient if self.legacy else gradient.flatten(1), dim=1)
        return self.loss_weight * (norm - 1).square().mean()

    def kept_state(self) -> dict[str, Any]:
        """The number of steps, for the training state."""
        return {"steps": self.steps}

    def load_kept_state(self, state: dict[str, Any]) -> None:
        """Go on from `kept_state`."""
        self.steps = state["steps"]


def _gradient(discriminator: Judge, images: Tensor) -> Tensor:
    """The gradient of the sum of all logits with respect to the images; it has a history itself."""
    with torch.autocast(images.device.type, enabled=False):
        points = images.detach().float().requires_grad_()
        logits = discriminator(points)
        total = logits.sum() if isinstance(logits, Tensor) else torch.stack([one.sum() for one in logits]).sum()
        return torch.autograd.grad(total, points, create_graph=True)[0]
