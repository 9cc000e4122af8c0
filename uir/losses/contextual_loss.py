"""The contextual loss: every feature of the target has a similar one somewhere in the restored image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from uir.core.seeds import torch_generator
from uir.layers.contextual import contextual_distance
from uir.losses.reduction import matched
from uir.losses.trunk import make_trunk
from uir.registry import LOSS_REGISTRY
from uir.registry.components import ArchSpec


@LOSS_REGISTRY.register()
class ContextualLoss(nn.Module):
    """−log of the contextual similarity of two images' features (Mechrez et al., ECCV 2018, Eqs. 2-5).

    It compares without alignment: features may lie at other places. Its memory grows with the square of the number of
    places; above `max_places` a random sample of them is taken, the same in both images (65² as published).

    Args:
        layer_weights: weight of each layer.
        band_width: h; 0.5 as published for style, 0.1 for content.
        loss_weight: factor on the result.
        max_places: largest number of places of a feature map that are compared.
        seed: of the sample; a resumed run goes on exactly.
        vgg_type, use_input_norm, range_norm, weights, trunk: as in `PerceptualLoss`.

    Raises:
        ValueError: an argument is out of range, or the file of weights does not fit.
        FileNotFoundError: there are no weights; nothing is downloaded.
    """

    def __init__(
        self,
        layer_weights: dict[str, float],
        band_width: float = 0.5,
        loss_weight: float = 1.0,
        max_places: int = 65 * 65,
        seed: int = 0,
        vgg_type: str = "vgg19",
        use_input_norm: bool = True,
        range_norm: bool = False,
        weights: str | None = None,
        trunk: ArchSpec | None = None,
    ) -> None:
        super().__init__()
        if band_width <= 0:
            raise ValueError(f"band_width: expected a number above 0, got {band_width}")
        if max_places < 1:
            raise ValueError(f"max_places: expected at least 1, got {max_places}")
        self.layer_weights = dict(layer_weights)
        self.band_width, self.loss_weight, self.max_places, self.seed = band_width, loss_weight, max_places, seed
        self.trunk = make_trunk(self.layer_weights, vgg_type, use_input_norm, range_norm, weights, trunk)
        self.samples = 0

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of a pair [B, 3, H, W].

        Raises:
            ValueError: the shapes differ, or the images do not suit the trunk.
        """
        prediction, target = matched(prediction, target)
        features = self.trunk(prediction)
        with torch.no_grad():
            wanted = self.trunk(target)
        parts = [
            weight * contextual_distance(*self._sampled(features[name], wanted[name]), self.band_width).mean()
            for name, weight in self.layer_weights.items()
        ]
        return self.loss_weight * torch.stack(parts).sum()

    def _sampled(self, features: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Both maps [B, C, h, w], as [B, C, 1, places] where they have too many places."""
        count = features.shape[-2] * features.shape[-1]
        if count <= self.max_places:
            return features, wanted
        self.samples += 1
        generator = torch_generator(self.seed, "contextual", self.samples)
        places = torch.randperm(count, generator=generator)[: self.max_places].to(features.device)
        return features.flatten(2)[:, :, None, places], wanted.flatten(2)[:, :, None, places]

    def kept_state(self) -> dict[str, Any]:
        """The number of samples, for the training state."""
        return {"samples": self.samples}

    def load_kept_state(self, state: dict[str, Any]) -> None:
        """Go on from `kept_state`."""
        self.samples = state["samples"]
