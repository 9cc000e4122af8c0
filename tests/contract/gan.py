"""An example of a user's plug-in: a restorer trained with a relativistic discriminator and a discriminator of patches.

The discriminators ("judges") take two steps for each step of the restorer, have their own rates and clipping, and are
not used in a test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.config.roles import Role
from uir.models.base_model import BaseModel
from uir.models.objectives import Objective
from uir.registry import ARCH_REGISTRY, MODEL_REGISTRY

JUDGE = Role(required_in=frozenset({"train"}))


@ARCH_REGISTRY.register()
class SmallJudge(nn.Module):
    """Logits for "real": one for each image, or with `patches` one for each position. Input [B, 3, H, W]."""

    def __init__(self, width: int = 4, patches: bool = False) -> None:
        super().__init__()
        self.patches = patches
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 3, 2, 1))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.body(image)
        return logits if self.patches else logits.mean((2, 3))


@MODEL_REGISTRY.register()
class TwoJudgesModel(BaseModel):
    """A relativistic average GAN (`network_d`) and a hinge GAN of patches (`network_p`), plus the pixel loss."""

    network_roles: ClassVar[Mapping[str, Role]] = {"g": Role(averaged=True), "d": JUDGE, "p": JUDGE}
    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt",)

    def objectives(self) -> Iterator[Objective]:
        if self.current_iter % 2 == 0:  # the judges take two steps for each step of the restorer
            yield Objective(self.restorer_losses, ("g",))
        yield Objective(self.judge_losses, ("d", "p"))

    def restorer_losses(self) -> dict[str, Tensor]:
        restored = self.net_g(self.lq)
        fake, real = self.net_d(restored), self.net_d(self.gt).detach()
        return {
            "l_pix": self.losses["pixel_opt"](restored, self.gt),
            "l_g": 0.01 * F.softplus(real.mean() - fake).mean(),
            "l_g_patch": -0.01 * self.net_p(restored).mean(),
        }

    def judge_losses(self) -> dict[str, Tensor]:
        with torch.no_grad():
            restored = self.net_g(self.lq)
        both = torch.cat([self.gt, restored])  # one call, so that every process counts each weight once
        (real, fake), (patches, fakes) = self.net_d(both).chunk(2), self.net_p(both).chunk(2)
        return {
            "l_d": (F.softplus(fake.mean() - real) + F.softplus(fake - real.mean())).mean(),
            "l_d_patch": (F.relu(1 - patches) + F.relu(1 + fakes)).mean(),
        }
