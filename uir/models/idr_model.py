"""Training of IDR (Zhang et al., CVPR 2023): hubs of single degradations, then their principal components."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from uir.config.schema import TrainOptions
from uir.inference.hub_predictor import HubPredictor
from uir.inference.predictor import Predictor, conditions_of
from uir.models.base_model import BaseModel, offers
from uir.registry import MODEL_REGISTRY


class IDROptions(TrainOptions):
    """Keys of `train` for restorers with hubs."""

    keys: Literal["hubs", "ingredients"] = Field(
        "hubs",
        description="What images ask: the hub of their true degradation (the first stage), or the principal components "
        "of all hubs, mixed by predicted probabilities (the second stage).",
    )


@MODEL_REGISTRY.register()
class IDRModel(BaseModel):
    """Trains a restorer with hubs, in two stages that `train.keys` names.

    Losses: `pixel_opt` on the restored image, `side_opt` on the images of the encoder's levels, and in the first stage
    `hub_opt` on the predicted hubs. The labels of the samples name the hubs; a part after the last underscore that is a
    number is left out, so that `noise_15` and `noise_50` share a hub. The stages change the same network, whose
    `forward(lq, degradation, with_parts=True)` gives `IDRParts`, such as `IDR`.
    """

    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "side_opt", "hub_opt")
    open_losses: ClassVar[bool] = True
    train_options: ClassVar[type[TrainOptions]] = IDROptions
    predictor_type: ClassVar[type[Predictor]] = HubPredictor

    train_opt: IDROptions

    def check_network(self, role: str, network: nn.Module) -> None:
        """Check that the restorer has hubs."""
        super().check_network(role, network)
        if "with_parts" not in conditions_of(network)[0] or not hasattr(network, "hubs"):
            raise ValueError(f"network_g: {type(network).__name__} has no hubs; use IDR, or model_type: SRModel")

    def leaves_unused(self, role: str) -> bool:
        """Each stage leaves out a part: the mixture, or the hubs."""
        return True

    @offers("hub_index")
    def hub_index(self) -> Tensor:
        """The index of each image's hub [B], of the labels of the batch.

        Raises:
            ValueError: an image has no label, or one without a hub.
        """
        records, hubs = self.batch.get("degradation"), self._hubs()
        indices = []
        for label in [None] * len(self.lq) if records is None else records.labels:
            name, _, strength = (label or "").rpartition("_")
            name = name if strength.isdigit() else (label or "")
            if name not in hubs:
                raise ValueError(f"IDRModel: the label of an image is {label!r}, but the hubs are {', '.join(hubs)}")
            indices.append(hubs.index(name))
        return torch.tensor(indices, device=self.device)

    def _hubs(self) -> tuple[str, ...]:
        network: Any = self.bare["g"]
        hubs: tuple[str, ...] = network.hubs
        return hubs

    @offers("parts", runs=("g",))
    def _parts(self) -> Any:
        hubs = self.value("hub_index") if self.train_opt.keys == "hubs" else None
        return self.net_g(self.lq, hubs, with_parts=True)

    @offers("restored", runs=("g",))
    def restored_batch(self) -> Tensor:
        """The output of `network_g` for the batch: [B, 3, H, W], float32.

        Raises:
            ValueError: its size differs from that of `gt`.
        """
        return self.fits_gt(self.value("parts").restored.float())

    @offers("side_outputs", runs=("g",))
    def side_outputs(self) -> list[Tensor]:
        """A restored image of each encoder level, fine to coarse."""
        sides: list[Tensor] = self.value("parts").sides
        return sides

    @offers("hub_logits", runs=("g",))
    def hub_logits(self) -> Tensor:
        """How well each hub fits, at each encoder level [B, levels, hubs]."""
        logits: Tensor = self.value("parts").logits
        return logits
