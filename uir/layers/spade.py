"""Spatially-adaptive normalisation (Park et al., SPADE, CVPR 2019): a map decides gain and shift of every pixel."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm

Norm: TypeAlias = Literal["instance", "batch"]


class SPADE(nn.Module):
    """norm(x) · (1 + γ(map)) + β(map), paper Eq. 1. Keys are the authors'.

    Args:
        channels: C of the features [B, C, H, W].
        map_channels: channels of the map [B, M, h, w], which is resized to H×W by its nearest pixels.
        norm: of the features, without weights of its own.
        hidden: width between the map and γ, β; 128 as published.
        face: HiFaceGAN's form: norm(x) · γ + β, whose convolutions have no bias.
    """

    def __init__(
        self, channels: int, map_channels: int, norm: Norm = "instance", hidden: int = 128, face: bool = False
    ) -> None:
        super().__init__()
        kinds = {"instance": nn.InstanceNorm2d(channels), "batch": nn.BatchNorm2d(channels, affine=False)}
        if norm not in kinds:
            raise ValueError(f"norm: expected instance or batch, got {norm!r}")
        self.offset = 0.0 if face else 1.0
        self.param_free_norm = kinds[norm]
        self.mlp_shared = nn.Sequential(nn.Conv2d(map_channels, hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(hidden, channels, 3, padding=1, bias=not face)
        self.mlp_beta = nn.Conv2d(hidden, channels, 3, padding=1, bias=not face)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Normalise features [B, C, H, W] by a map [B, M, h, w]."""
        hidden = self.mlp_shared(F.interpolate(guide, size=x.shape[-2:], mode="nearest"))
        return self.param_free_norm(x) * (self.offset + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)


class SPADEResnetBlock(nn.Module):
    """x + two convolutions, each after SPADE and a leaky ReLU (SPADE, Fig. 4). Keys are the authors'.

    [B, channels, H, W] to [B, out_channels, H, W]; a change of width gives the shortcut a SPADE and a convolution.

    Args:
        channels, out_channels: widths before and after.
        map_channels, norm, face: as in `SPADE`.
        hidden: as in `SPADE`; None takes the channels of each norm up to 128, as HiFaceGAN does.
        spectral: spectral normalisation of the convolutions.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        map_channels: int,
        norm: Norm = "instance",
        spectral: bool = True,
        hidden: int | None = 128,
        face: bool = False,
    ) -> None:
        super().__init__()
        middle = min(channels, out_channels)

        def conv(inputs: int, outputs: int, side: int) -> nn.Module:
            layer = nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=side > 1)
            return spectral_norm(layer) if spectral else layer

        def spade(width: int) -> SPADE:
            return SPADE(width, map_channels, norm, min(width, 128) if hidden is None else hidden, face)

        self.learned_shortcut = channels != out_channels
        self.conv_0, self.conv_1 = conv(channels, middle, 3), conv(middle, out_channels, 3)
        self.norm_0, self.norm_1 = spade(channels), spade(middle)
        if self.learned_shortcut:
            self.conv_s, self.norm_s = conv(channels, out_channels, 1), spade(channels)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """The block's output for features and a map."""
        shortcut = self.conv_s(self.norm_s(x, guide)) if self.learned_shortcut else x
        x = self.conv_0(F.leaky_relu(self.norm_0(x, guide), 0.2))
        return shortcut + self.conv_1(F.leaky_relu(self.norm_1(x, guide), 0.2))
