"""An example of a user's plug-in: convolutions with weights that a code mixes from experts, image by image.

The mixed weights are passed as arguments (`torch.func.functional_call`), never as attributes of a module. A second
loss teaches the code the noise level of the image, from the records of the degradations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from uir.config.roles import Role
from uir.degradations.targets import Targets
from uir.inference.predictor import Place, Predictor, Whole
from uir.models.base_model import BaseModel, offers
from uir.registry import ARCH_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY, PREDICTORS


@ARCH_REGISTRY.register()
class ExpertGate(nn.Module):
    """Shares of the experts [B, experts], before the softmax, from an image [B, 3, H, W]; the first number is also the
    image's noise level."""

    def __init__(self, experts: int = 3) -> None:
        super().__init__()
        self.experts = experts
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, experts)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(image))
        return logits


@ARCH_REGISTRY.register()
class MixedExperts(nn.Module):
    """One small restorer whose weights are a mixture of experts. Input [B, 3, H, W] and shares [B, experts]."""

    def __init__(self, experts: int = 3, width: int = 6) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, width, 3, 1, 1), nn.SiLU(), nn.Conv2d(width, 3, 3, 1, 1)) for _ in range(experts)
        )

    def forward(self, lq: Tensor, shares: Tensor) -> Tensor:
        named = [dict(expert.named_parameters()) for expert in self.experts]
        stacked = {key: torch.stack([expert[key] for expert in named]) for key in named[0]}
        images = []
        for image, share in zip(lq, shares, strict=True):
            weights = {key: torch.tensordot(share.to(value.dtype), value, 1) for key, value in stacked.items()}
            images.append(image[None] + functional_call(self.experts[0], weights, (image[None],)))
        return torch.cat(images)


@LOSS_REGISTRY.register()
class SeverityLoss(nn.Module):
    """Squared difference of a prediction [B] and the record's severity; images without a known one do not count."""

    inputs: ClassVar[tuple[str, ...]] = ("gate", "record.how_noisy")

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, gate: Tensor, noise: Targets) -> Tensor:
        wrong = (gate[:, :1].sigmoid() - noise.values).square()[noise.mask]
        return self.loss_weight * wrong.mean() if len(wrong) else gate.sum() * 0


@PREDICTORS.register()
class ExpertsPredictor(Predictor):
    """Uses one mixture for the whole image, with tiles or without."""

    roles: ClassVar[tuple[str, ...]] = ("g", "e")
    supplies: ClassVar[tuple[str, ...]] = ("shares",)

    def conditions(self, whole: Whole) -> dict[str, Any]:
        image = whole.read(slice(0, whole.size[0]), slice(0, whole.size[1])).to(whole.device)
        return {"shares": self.networks["e"](image).softmax(1)}

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        restored: Tensor = self.network(lq, conditions["shares"])
        return restored


@MODEL_REGISTRY.register()
class ExpertsModel(BaseModel):
    """Trains gate and experts together."""

    network_roles: ClassVar[Mapping[str, Role]] = {"g": Role(averaged=True), "e": Role(averaged=True)}
    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "severity_opt")
    predictor_type: ClassVar[type[Predictor]] = ExpertsPredictor

    net_e: Any

    @offers("gate", runs=("e",))
    def _gate(self) -> Tensor:
        logits: Tensor = self.net_e(self.lq)
        return logits

    @offers("shares")
    def _shares(self) -> Tensor:
        shares: Tensor = self.value("gate").softmax(1)
        return shares
