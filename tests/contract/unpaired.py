"""An example of a user's plug-in: pairs train the pixels, and real images without a pair train a realistic look.

The second training set is a separate stream. A critic learns the difference between its restored images and the clean
images of the first set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from uir.config.roles import Role
from uir.models.base_model import BaseModel, offers
from uir.models.objectives import Objective
from uir.registry import ARCH_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY


@ARCH_REGISTRY.register()
class SmallCritic(nn.Module):
    """One logit for each image. Input [B, 3, H, W]."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 3, 2, 1))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.body(image).mean((2, 3))
        return logits


@LOSS_REGISTRY.register()
class FoolLoss(nn.Module):
    """The restorer's loss: restored images of the unpaired set should look real."""

    inputs: ClassVar[tuple[str, ...]] = ("fake_logits",)

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, fake_logits: Tensor) -> Tensor:
        return self.loss_weight * F.softplus(-fake_logits).mean()


@LOSS_REGISTRY.register()
class CriticLoss(nn.Module):
    """The critic's loss: separate real images from restored ones."""

    inputs: ClassVar[tuple[str, ...]] = ("real_logits", "fake_logits")

    def forward(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


@MODEL_REGISTRY.register()
class UnpairedModel(BaseModel):
    """Two streams, two networks and two objectives; every value has a name."""

    network_roles: ClassVar[Mapping[str, Role]] = {
        "g": Role(averaged=True),
        "d": Role(required_in=frozenset({"train"})),
    }
    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "fool_opt", "critic_opt")
    streams: ClassVar[tuple[str, ...]] = ("unpaired",)

    net_d: Any

    def objectives(self) -> Iterator[Objective]:
        yield Objective(lambda: self.losses_of("pixel_opt", "fool_opt"), ("g",))
        yield Objective(lambda: self.losses_of("critic_opt"), ("d",))

    @offers("restored_unpaired", runs=("g",))
    def _restored_unpaired(self) -> Tensor:
        restored: Tensor = self.net_g(self.value("unpaired.lq"))
        return restored

    @offers("fake_logits", runs=("d",))
    def _fake_logits(self) -> Tensor:
        logits: Tensor = self.net_d(self.value("restored_unpaired"))
        return logits

    @offers("real_logits", runs=("d",))
    def _real_logits(self) -> Tensor:
        logits: Tensor = self.net_d(self.clean_images())
        return logits
