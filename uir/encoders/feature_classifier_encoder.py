"""A light degradation classifier for any backbone: its feature points and a parameter budget determine its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from uir.layers.features import FeaturePoint, feature_maps
from uir.layers.norm import LayerNorm2d
from uir.layers.pointwise import PointwiseConv2d
from uir.registry import ARCH_REGISTRY


class FeatureSummary(nn.Module):
    """Mean and deviation over all pixels after a few convolutions: [B, channels, H, W] to [B, 2·width].

    The strength of fine structure shows a degradation as well as its mean does, so both are computed.

    Args:
        channels: C of the feature.
        width: width of the convolutions.
        normalise: whether a norm over the channels of each pixel comes first; it takes the magnitude away.
    """

    def __init__(self, channels: int, width: int, normalise: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            LayerNorm2d(channels) if normalise else nn.Identity(),
            PointwiseConv2d(channels, width),
            nn.Conv2d(width, width, 3, stride=2, padding=1, groups=width),
            nn.GELU(),
            PointwiseConv2d(width, width),
            nn.GELU(),
        )

    def forward(self, feature: Tensor) -> Tensor:
        """Summarise."""
        values = self.body(feature.contiguous(memory_format=torch.channels_last)).flatten(2)
        mean = values.mean(2, keepdim=True)
        deviation = ((values - mean).square().mean(2) + 1e-6).sqrt()
        return torch.cat([mean.squeeze(2), deviation], 1)


class _Layers(nn.Module):
    """The classifier for one width of its hidden layers."""

    def __init__(self, channels: Sequence[int], width: int, num_classes: int, normalise: bool) -> None:
        super().__init__()
        self.summaries = nn.ModuleList(FeatureSummary(count, width, normalise) for count in channels)
        self.head = nn.Sequential(nn.Linear(2 * width * len(channels), width), nn.GELU(), nn.Linear(width, num_classes))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        summaries = [summary(feature) for summary, feature in zip(self.summaries, features, strict=True)]
        logits: Tensor = self.head(torch.cat(summaries, 1))
        return logits


@ARCH_REGISTRY.register()
class FeatureClassifier(nn.Module):
    """Degradation classifier on the features of any backbone that declares its `feature_points()`; logits [B, K].

    Every feature is summarised separately (a norm if wished, three small convolutions, mean and deviation over its
    pixels). A two-layer perceptron classifies the summaries. The hidden layers are as wide as the budget allows, at
    most as wide as the widest feature.

    Args:
        feature_points: the sources of the features, in their order; mappings `{name, channels, stride, layout}` are
            accepted too.
        num_classes: number of degradation classes.
        max_params: the classifier has at most this many parameters.
        normalise: whether every pixel of a feature is normalised first. Then only the direction of its channels counts;
            without it their magnitude counts too, as in DCPT's own classifier.

    Raises:
        ValueError: there are no feature points, no classes, or the budget is too small for any width.
    """

    def __init__(
        self,
        feature_points: Sequence[FeaturePoint | Mapping[str, Any]],
        num_classes: int,
        max_params: int = 1_000_000,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        self.points = [point if isinstance(point, FeaturePoint) else FeaturePoint(**point) for point in feature_points]
        if not self.points:
            raise ValueError("FeatureClassifier.feature_points: the backbone has none; there is nothing to classify")
        if num_classes < 1:
            raise ValueError(f"FeatureClassifier.num_classes: expected at least 1, got {num_classes}")
        channels = [point.channels for point in self.points]
        self.width = _widest(channels, num_classes, max_params, normalise)
        self.layers = _Layers(channels, self.width, num_classes, normalise)

    def forward(self, lq: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Classify.

        Args:
            lq: [B, 3, H, W], the backbone's input; only its shape is used, to arrange tokens.
            features: the features at the feature points, in their order.

        Raises:
            ValueError: the features are not those of the feature points.
        """
        logits: Tensor = self.layers(feature_maps("FeatureClassifier", self.points, features, lq))
        return logits


def _widest(channels: Sequence[int], num_classes: int, max_params: int, normalise: bool) -> int:
    """The largest width within the budget; a multiple of 8 if the budget allows it."""

    def count(width: int) -> int:
        with torch.device("meta"):
            layers = _Layers(channels, width, num_classes, normalise)
            return sum(parameter.numel() for parameter in layers.parameters())

    low, high = 0, max(channels)  # the parameter count grows with the width
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(middle) <= max_params else (low, middle - 1)
    if low == 0:
        raise ValueError(
            f"FeatureClassifier.max_params: {max_params} is too few for features of {list(channels)} channels; "
            f"the narrowest classifier has {count(1)}"
        )
    return low - low % 8 if low >= 8 else low
