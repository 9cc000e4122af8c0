"""OneRestore's losses (Guo et al., ECCV 2024): recognising scenes, and a contrast with a scene's degradations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.vgg import VGGFeatures
from uir.losses.reduction import in_full_precision, matched
from uir.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class SceneLoss(nn.Module):
    """Cross-entropy of the scenes that an embedder recognises.

    Args:
        loss_weight: factor on the result.
    """

    inputs: ClassVar[tuple[str, ...]] = ("scene_logits", "scene_index")

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, scenes: Tensor) -> Tensor:
        """The loss of logits [B, K] and indices [B].

        Raises:
            ValueError: the numbers of images differ.
        """
        if len(logits) != len(scenes):
            raise ValueError(f"SceneLoss: expected a scene for each of {len(logits)} images, got {len(scenes)}")
        return self.loss_weight * F.cross_entropy(in_full_precision(logits), scenes)


@LOSS_REGISTRY.register()
class CompositeContrastiveLoss(nn.Module):
    """The restored image should be near the clean one, and far from all degraded ones of the scene (paper Eq. 9).

    |φ(restored) − φ(gt)| / (mean over lq and negatives of |φ(restored) − φ(degraded)| + 1e-7), the mean over VGG's
    layers. The images are not normalised by ImageNet's mean, as published.

    Args:
        loss_weight: factor on the result.
        layers: VGG's layers.
        vgg_type: such as `vgg16`; None compares the images themselves, which needs no weights.
        weights: a local file of torchvision's weights.

    Raises:
        ValueError: a layer is unknown.
        FileNotFoundError: there are no weights; nothing is downloaded.
    """

    inputs: ClassVar[tuple[str, ...]] = ("restored", "gt", "lq", "negatives")

    def __init__(
        self,
        loss_weight: float = 0.1,
        layers: Sequence[str] = ("relu1_2", "relu2_2", "relu3_3"),
        vgg_type: str | None = "vgg16",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.vgg = None if vgg_type is None else VGGFeatures(layers, vgg_type, use_input_norm=False, weights=weights)

    def forward(self, restored: Tensor, gt: Tensor, lq: Tensor, negatives: Tensor) -> Tensor:
        """The loss of images [B, 3, H, W] and the negatives [B, N, 3, H, W]."""
        restored, gt = matched(restored, gt)
        anchors = self._features(restored)
        with torch.no_grad():
            positives = self._features(gt)
            degraded = [self._features(image.to(restored.dtype)) for image in (lq, *negatives.unbind(1))]
        ratios = []
        for layer, anchor in enumerate(anchors):
            away = torch.stack([(anchor - other[layer]).abs().mean() for other in degraded]).mean()
            ratios.append((anchor - positives[layer]).abs().mean() / (away + 1e-7))
        return self.loss_weight * torch.stack(ratios).mean()

    def _features(self, image: Tensor) -> list[Tensor]:
        return [image] if self.vgg is None else list(self.vgg(image).values())
