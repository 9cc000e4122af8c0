"""Discriminators that see something else than the image: its residual, its wavelet bands, or a pair."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.features import FeaturePoint, points_of
from uir.layers.haar import haar
from uir.registry import ARCH_REGISTRY
from uir.registry.components import ArchSpec, build


class _View(nn.Module):
    """Any discriminator behind a change of its input.

    Args:
        discriminator: it, as in an option file; its `num_in_ch` is supplied where it is not set.
        channels: what the discriminator sees.
        stride: pixels of the image for one of the view.
    """

    def __init__(self, discriminator: ArchSpec, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.discriminator: nn.Module = build(ARCH_REGISTRY, discriminator, {"num_in_ch": channels})
        self._stride = stride

    def feature_points(self) -> list[FeaturePoint]:
        """Those of the discriminator inside."""
        return [
            replace(point, name=f"discriminator.{point.name}", stride=point.stride * self._stride)
            for point in points_of(self.discriminator)
        ]


@ARCH_REGISTRY.register()
class ResidualDiscriminator(_View):
    """Judges the residual image, degraded minus restored against degraded minus clean (noise-manifold GAN).

    The images that a discriminator should find alike are then what was removed, not the scene. A smaller degraded image
    is enlarged bilinearly.

    Args:
        discriminator: any discriminator, `{type: UNetDiscriminatorSN}`.
        num_in_ch: channels of an image.
    """

    def __init__(self, discriminator: ArchSpec, num_in_ch: int = 3) -> None:
        super().__init__(discriminator, num_in_ch)

    def forward(self, image: Tensor, lq: Tensor) -> Tensor | list[Tensor]:
        """The logits of a restored or clean image [B, C, H, W], given the degraded one [B, C, h, w]."""
        return self.discriminator(_as_large(lq, image) - image)


@ARCH_REGISTRY.register()
class PairDiscriminator(_View):
    """Judges an image beside the degraded one, channel by channel (the conditional discriminator of pix2pix).

    Args:
        discriminator: any discriminator; it sees twice the channels.
        num_in_ch: channels of an image.
    """

    def __init__(self, discriminator: ArchSpec, num_in_ch: int = 3) -> None:
        super().__init__(discriminator, 2 * num_in_ch)

    def forward(self, image: Tensor, lq: Tensor) -> Tensor | list[Tensor]:
        """The logits of a restored or clean image [B, C, H, W], given the degraded one [B, C, h, w]."""
        return self.discriminator(torch.cat([_as_large(lq, image), image], 1))


@ARCH_REGISTRY.register()
class WaveletDiscriminator(_View):
    """Judges the bands of a Haar wavelet (frequency separation, as in DASR of Wei et al., CVPR 2021).

    Args:
        discriminator: any discriminator; it sees three or four times the channels, at half the size.
        num_in_ch: channels of an image.
        bands: `high` (three bands; colour and brightness do not count) or `all` (four).

    Raises:
        ValueError: `bands` is another word.
    """

    def __init__(self, discriminator: ArchSpec, num_in_ch: int = 3, bands: Literal["high", "all"] = "high") -> None:
        if bands not in ("high", "all"):
            raise ValueError(f"bands: expected high or all, got {bands!r}")
        super().__init__(discriminator, num_in_ch * (3 if bands == "high" else 4), stride=2)
        self.first_band = 1 if bands == "high" else 0

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """The logits of an image [B, C, H, W]."""
        return self.discriminator(haar(image)[:, self.first_band :].flatten(1, 2))


def _as_large(lq: Tensor, image: Tensor) -> Tensor:
    """The degraded image in the size of the other one."""
    if lq.shape[-2:] == image.shape[-2:]:
        return lq
    return F.interpolate(lq, size=image.shape[-2:], mode="bilinear", align_corners=False)
