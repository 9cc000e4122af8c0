"""A probe: how well do the features of a frozen restorer tell degradations apart?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from uir.config.roles import Role
from uir.layers.tapped import TappedRestorer
from uir.models.classifying_model import CLASSIFIER, ClassifyingModel, ClassifyingStep
from uir.registry import MODEL_REGISTRY


class _FeaturesOnly(TappedRestorer):
    def forward(self, lq: Tensor) -> tuple[Tensor | None, list[Tensor]]:
        """The features of `lq`; nothing is restored."""
        return self.run(lq, stop=True)


@MODEL_REGISTRY.register()
class DCModel(ClassifyingModel):
    """Train only `network_dc`, on the features of a `network_g` that does not change, in evaluation mode."""

    network_roles: ClassVar[Mapping[str, Role]] = {"g": Role(trained=False), "dc": CLASSIFIER}
    loss_slots: ClassVar[tuple[str, ...]] = ("classify_opt",)
    open_losses: ClassVar[bool] = False  # it restores nothing that a loss could judge

    def make_tapped(self, network: nn.Module) -> TappedRestorer:
        """The restorer up to its last feature."""
        return _FeaturesOnly(network, self.train_opt.taps if self.is_train else None)

    def run_step(self) -> ClassifyingStep:
        """Read the features of `lq`, without gradients."""
        with torch.no_grad():
            _, features = self.net_g(self.lq)
        return ClassifyingStep(None, features, self.lq)
