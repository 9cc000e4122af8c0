"""The network that gives Refusion its latent images (Luo et al., CVPRW 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from uir.layers.features import FeaturePoint
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.pointwise import PointwiseConv2d
from uir.layers.time_unet import LinearAttention, Residual, ResidualBlock, UpsampleConv, down_conv
from uir.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class LatentUNet(nn.Module):
    """Encodes images as small latents and hidden features, and decodes both. [B, 3, H, W] is kept; any H, W.

    Restoring replaces the latents; the hidden features are those of the degraded image. Argument and parameter names
    are the authors' (`UNet`), so their checkpoints load with `strict=True`.

    Args:
        in_ch, out_ch: channels of the image.
        ch: channels at full resolution.
        ch_mult: channels of each level as multiples of `ch`, fine to coarse.
        embed_dim: channels of the latents.

    Raises:
        ValueError: there is no level.
    """

    scale = 1

    def __init__(
        self, in_ch: int = 3, out_ch: int = 3, ch: int = 8, ch_mult: Sequence[int] = (4, 8, 8, 16), embed_dim: int = 8
    ) -> None:
        super().__init__()
        if not ch_mult or min(ch_mult) < 1:
            raise ValueError(f"LatentUNet.ch_mult: expected numbers of at least 1, got {list(ch_mult)}")
        self.latent_channels = embed_dim
        widths = [ch, *(ch * factor for factor in ch_mult)]
        self._widths = widths
        self.init_conv = nn.Conv2d(in_ch, ch, 3, padding=1, bias=False)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        pairs = list(pairwise(widths))
        for level, (fine, coarse) in enumerate(pairs):
            last = level + 1 == len(pairs)
            down = nn.Conv2d(fine, coarse, 3, padding=1, bias=False) if last else down_conv(fine, coarse)
            self.encoder.append(nn.ModuleList([_block(fine, fine), _block(fine, fine), _attention(fine, last), down]))
        for level, (fine, coarse) in reversed(list(enumerate(pairs))):
            last = level + 1 == len(pairs)
            up = UpsampleConv(coarse, fine) if level else nn.Conv2d(coarse, fine, 3, padding=1, bias=False)
            blocks = [_block(coarse + fine, coarse), _block(coarse + fine, coarse)]
            self.decoder.append(nn.ModuleList([*blocks, _attention(coarse, last), up]))
        self.latent_conv = PointwiseConv2d(widths[-1], embed_dim, bias=False)
        self.post_latent_conv = PointwiseConv2d(embed_dim, widths[-1], bias=False)
        self.final_conv = nn.Conv2d(ch, out_ch, 3, padding=1)

    @property
    def latent_stride(self) -> int:
        """Pixels of the padded image for each pixel of the latents."""
        return int(2 ** (len(self.encoder) - 1))

    @property
    def pad_multiple(self) -> int:
        """Height and width of a batch should be multiples of this; other sizes are padded by reflection."""
        return int(2 ** len(self.encoder))

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each decoder level, coarse to fine."""
        count = len(self.decoder)
        return [FeaturePoint(f"decoder.{i}.2", self._widths[count - i], 2 ** (count - 1 - i)) for i in range(count)]

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Latents [B, embed_dim, h, w] and hidden features of images, padded to `pad_multiple`."""
        padded = pad_to_multiple(image, self.pad_multiple).contiguous(memory_format=torch.channels_last)
        x = self.init_conv(padded)
        hidden = [x]
        for first, second, attention, down in map(nn.ModuleList.children, self.encoder):
            x = first(x)
            hidden.append(x)
            x = attention(second(x))
            hidden.append(x)
            x = down(x)
        return self.latent_conv(x), hidden

    def decode(self, latent: Tensor, hidden: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Images [B, out_ch, *size] of latents and hidden features."""
        x, left = self.post_latent_conv(latent), list(hidden)
        for first, second, attention, up in map(nn.ModuleList.children, self.decoder):
            x = first(torch.cat([x, left.pop()], 1))
            x = up(attention(second(torch.cat([x, left.pop()], 1))))
        return crop(self.final_conv(x + left.pop()), *size).contiguous()

    def forward(self, lq: Tensor) -> Tensor:
        """Encode and decode images [B, 3, H, W] in [0, 1]."""
        latent, hidden = self.encode(lq)
        return self.decode(latent, hidden, (lq.shape[-2], lq.shape[-1]))


def _block(in_channels: int, channels: int) -> ResidualBlock:
    return ResidualBlock(in_channels, channels, normed=False, time_channels=None)


def _attention(channels: int, is_deepest: bool) -> nn.Module:
    return Residual(LinearAttention(channels), channels) if is_deepest else nn.Identity()
