"""Training of OneRestore (Guo et al., ECCV 2024): an embedder of scenes, and a restorer led by its descriptors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.config.roles import Role
from uir.inference.predictor import Predictor
from uir.inference.scene_predictor import ScenePredictor
from uir.models.base_model import BaseModel, inputs_of, offers
from uir.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class OneRestoreModel(BaseModel):
    """A restorer `network_g(lq, code)` and the embedder `network_e` of its scene descriptors.

    A stage trains the embedder to recognise scenes (`scene_opt`). Another trains the restorer with losses on images; it
    gets the descriptor of the true scene, which is the label of the sample. Restoring uses the scene that the embedder
    recognises, or that the control `scene` names.

    `network_e` has `scenes`, `describe(indices) -> DegradationCode` and `logits` in its code, such as `SceneEmbedder`.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "e": Role(trained=None, averaged=True),
        "g": Role(trained=None, averaged=True, supplied=("code_channels",)),
    }
    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "perceptual_opt", "contrast_opt", "scene_opt")
    open_losses: ClassVar[bool] = True
    predictor_type: ClassVar[type[Predictor]] = ScenePredictor

    net_e: Any

    def network_sizes(self, role: str) -> dict[str, Any]:
        """The width of the descriptors, for the restorer."""
        return {"code_channels": self.bare["e"].code_channels} if role == "g" else super().network_sizes(role)

    def check_network(self, role: str, network: nn.Module) -> None:
        """Check that the embedder has scenes."""
        super().check_network(role, network)
        if role == "e" and not (hasattr(network, "scenes") and hasattr(network, "describe")):
            raise ValueError(f"network_e: {type(network).__name__} describes no scenes; use SceneEmbedder")

    def leaves_unused(self, role: str) -> bool:
        """A loss on scenes alone does not run the restorer."""
        inputs = {name for loss in self.described_losses().values() for name in inputs_of(loss)}
        return (role == "g" and "restored" not in inputs) or super().leaves_unused(role)

    @offers("scene_index")
    def scene_index(self) -> Tensor:
        """The index of each image's scene [B], of the labels of the batch.

        Raises:
            ValueError: an image has no label, or one that is not a scene.
        """
        records = self.batch.get("degradation")
        labels = [None] * len(self.lq) if records is None else list(records.labels)
        if None in labels:
            raise ValueError("OneRestoreModel needs the scene of every image; give the dataset labels, or use tasks")
        return torch.tensor([self.bare["e"].index_of(label) for label in labels], device=self.device)  # type: ignore[operator]

    @offers("scene_logits", runs=("e",))
    def scene_logits(self) -> Tensor:
        """How well the name of each scene fits each image [B, scenes]."""
        logits: Tensor = self.net_e(self.lq).require("logits", "OneRestoreModel")
        return logits

    @offers("restored", runs=("g",))
    def restored_batch(self) -> Tensor:
        """The output of `network_g` for the descriptors of the true scenes: [B, 3, H, W], float32.

        Raises:
            ValueError: its size differs from that of `gt`.
        """
        embedder: Any = self.bare["e"]
        with torch.no_grad():
            code = embedder.describe(self.value("scene_index"))
        return self.fits_gt(self.net_g(self.lq, code=code).float())
