"""Perceptual and style losses on VGG features (Johnson et al., ECCV 2016; Gatys et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uir.losses.reduction import in_full_precision, matched
from uir.losses.trunk import make_trunk
from uir.registry import LOSS_REGISTRY
from uir.registry.components import ArchSpec

_CRITERIA = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "fro": lambda x, y: torch.linalg.vector_norm(x - y),
}


@LOSS_REGISTRY.register()
class PerceptualLoss(nn.Module):
    """Distance of two images' features, and of the features' Gram matrices.

    BasicSR's arguments, plus `weights` and `trunk`.

    Args:
        layer_weights: weight of each layer, such as `{conv5_4: 1.0}`; `conv` features come before the ReLU.
        vgg_type: `vgg11`, `vgg13`, `vgg16` or `vgg19`, or one of these with `_bn`.
        use_input_norm: normalise the images by ImageNet's mean and deviation.
        range_norm: the images are in [-1, 1] instead of [0, 1].
        perceptual_weight: factor on the perceptual loss; 0 turns it off.
        style_weight: factor on the style loss; 0 turns it off.
        criterion: `l1`, `l2` (mean squared) or `fro` (Euclidean norm over all elements).
        weights: a local file of torchvision's weights for `vgg_type`; default torch's cache, then
            `experiments/pretrained_models`. `random` gives fixed random weights, for tests.
        trunk: a network of the arch registry in place of VGG, `{type: NAFNet, width: 16, ...}`. `weights` is then its
            checkpoint, and the layers are module paths; the images are not normalised.

    Raises:
        ValueError: an argument is out of range, or the file does not contain this VGG.
        FileNotFoundError: there are no weights; nothing is downloaded.
    """

    def __init__(
        self,
        layer_weights: dict[str, float],
        vgg_type: str = "vgg19",
        use_input_norm: bool = True,
        range_norm: bool = False,
        perceptual_weight: float = 1.0,
        style_weight: float = 0.0,
        criterion: str = "l1",
        weights: str | None = None,
        trunk: ArchSpec | None = None,
    ) -> None:
        super().__init__()
        if criterion not in _CRITERIA:
            raise ValueError(f"criterion: expected {', '.join(_CRITERIA)}, got {criterion!r}")
        for name, value in (("perceptual_weight", perceptual_weight), ("style_weight", style_weight)):
            if value < 0:
                raise ValueError(f"{name}: expected a number of at least 0, got {value}")
        self.layer_weights = dict(layer_weights)
        self.perceptual_weight = perceptual_weight
        self.style_weight = style_weight
        self.criterion = criterion
        self.vgg = make_trunk(self.layer_weights, vgg_type, use_input_norm, range_norm, weights, trunk)

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The perceptual and the style loss of a pair [B, 3, H, W]; None for a loss that is turned off.

        Raises:
            ValueError: the shapes differ, or the images are not RGB or are too small for the VGG.
        """
        prediction, target = matched(prediction, target)
        features = self.vgg(prediction)
        with torch.no_grad():
            target_features = self.vgg(target)
        perceptual = style = None
        if self.perceptual_weight > 0:
            perceptual = self.perceptual_weight * self._distance(features, target_features)
        if self.style_weight > 0:
            grams = {name: gram_matrix(feature) for name, feature in features.items()}
            wanted_grams = {name: gram_matrix(feature) for name, feature in target_features.items()}
            style = self.style_weight * self._distance(grams, wanted_grams)
        return perceptual, style

    def _distance(self, features: Mapping[str, Tensor], target_features: Mapping[str, Tensor]) -> Tensor:
        distance = _CRITERIA[self.criterion]
        parts = [
            weight * distance(in_full_precision(features[name]), in_full_precision(target_features[name]))
            for name, weight in self.layer_weights.items()
        ]
        return torch.stack(parts).sum()


def gram_matrix(features: Tensor) -> Tensor:
    """Products of all pairs of channels, summed over pixels and divided by C·h·w: [B, C, h, w] to [B, C, C]."""
    flat = in_full_precision(features).flatten(2)
    return flat @ flat.mT / (flat.shape[1] * flat.shape[2])
