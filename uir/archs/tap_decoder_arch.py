"""A light decoder that makes an image from the features of any backbone, for pre-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.features import FeaturePoint, feature_maps
from uir.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class TapDecoder(nn.Module):
    """Features of a backbone to an image [B, out_channels, H, W], in place of the backbone's own output layers.

    A 1×1 convolution gives every feature the same width. The sum of the coarsest ones is pooled until a pixel of it
    stands for `reach` pixels of the image; on the way back, a 3×3 convolution at every size carries what is near into
    places where the features are zero. So a hidden patch of up to `reach` pixels is filled from its neighbours.

    Args:
        feature_points: the sources of the features, in their order; mappings `{name, channels, stride, layout}` are
            accepted too.
        width: channels inside.
        reach: the coarsest size, in pixels of the image; a power of two.
        out_channels: channels of the image.

    Raises:
        ValueError: there are no feature points, their strides are no powers of two, or a size is out of range.
    """

    def __init__(
        self,
        feature_points: Sequence[FeaturePoint | Mapping[str, Any]],
        width: int = 32,
        reach: int = 16,
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        self.points = [point if isinstance(point, FeaturePoint) else FeaturePoint(**point) for point in feature_points]
        strides = [point.stride for point in self.points]
        if not self.points or any(stride & (stride - 1) for stride in strides):
            raise ValueError(f"TapDecoder.feature_points: expected strides that are powers of two, got {strides}")
        if reach < 1 or reach & (reach - 1):
            raise ValueError(f"TapDecoder.reach: expected a power of two, got {reach}")
        if min(width, out_channels) < 1:
            raise ValueError(f"TapDecoder: width and out_channels must be at least 1, got {width} and {out_channels}")
        self.stride, coarsest = min(strides), max(*strides, reach)
        self.steps = (coarsest // self.stride).bit_length() - 1
        self.inward = nn.ModuleList(nn.Conv2d(point.channels, width, 1) for point in self.points)
        self.mixing = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GELU()) for _ in range(self.steps + 1)
        )
        self.output = nn.Conv2d(width, out_channels * self.stride**2, 3, padding=1)

    def forward(self, lq: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Make the image.

        Args:
            lq: [B, 3, H, W], the backbone's input; only its shape is used, to arrange tokens.
            features: the features at the feature points, in their order.

        Raises:
            ValueError: the features are not those of the feature points.
        """
        maps = feature_maps("TapDecoder", self.points, features, lq)
        levels: list[Tensor | None] = [None] * (self.steps + 1)
        for point, inward, feature in zip(self.points, self.inward, maps, strict=True):
            level = (point.stride // self.stride).bit_length() - 1
            wide = inward(feature)
            previous = levels[level]
            levels[level] = wide if previous is None else previous + wide
        for level in range(1, self.steps + 1):  # what finer levels show, also at the coarser ones
            pooled = F.avg_pool2d(_present(levels[level - 1]), 2, ceil_mode=True)
            own = levels[level]
            levels[level] = pooled if own is None else own + pooled
        x = self.mixing[self.steps](_present(levels[self.steps]))
        for level in range(self.steps - 1, -1, -1):
            finer = _present(levels[level])
            enlarged = F.interpolate(x, finer.shape[-2:], mode="bilinear", align_corners=False)
            x = self.mixing[level](finer + enlarged)
        return F.pixel_shuffle(self.output(x), self.stride)


def _present(level: Tensor | None) -> Tensor:
    """The finest level has a feature, so that every level has a map once it is pooled."""
    assert level is not None
    return level
