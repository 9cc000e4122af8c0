"""Modulators: layers `(x, code) -> x` through which a degradation code controls a backbone, in the table `MODULATORS`.

A modulator is built with the channels of the features and of the code. It takes features [B, channels, H, W] and a
code [B, code_channels] ("vector"), or [B, code_channels, h, w] ("map") if its attribute `takes` contains it.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.degradation_aware_conv import DAConv, DQAConv, RegionDAConv
from uir.registry import MODULATORS, UnknownNameError


def as_map(code: Tensor, x: Tensor) -> Tensor:
    """A code as a map for `x`: a vector becomes [B, C, 1, 1], a map is resized to x's height and width."""
    if code.ndim == 2:
        return code[:, :, None, None]
    if code.shape[-2:] in (x.shape[-2:], (1, 1)):
        return code
    return F.interpolate(code, x.shape[-2:], mode="bilinear", align_corners=False)


@MODULATORS.register(name="sft")
class SFT(nn.Module):
    """Spatial feature transform (Wang et al., CVPR 2018; as in AirNet): x · gamma(code) + beta(code).

    Args:
        channels: C of input and output [B, C, H, W].
        code_channels: channels of the code; default C.
    """

    takes = ("vector", "map")

    def __init__(self, channels: int, code_channels: int | None = None) -> None:
        super().__init__()
        code_channels = code_channels or channels
        self.conv_gamma = self._layers(channels, code_channels)
        self.conv_beta = self._layers(channels, code_channels)

    @staticmethod
    def _layers(channels: int, code_channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(code_channels, channels, 1, bias=False),
            nn.LeakyReLU(0.1),
            nn.Conv2d(channels, channels, 1, bias=False),
        )

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Scale and shift every feature by the code, [B, code_channels] or a map of any size."""
        code = as_map(code, x)
        return x * self.conv_gamma(code) + self.conv_beta(code)


@MODULATORS.register(name="stretch")
class Stretch(nn.Module):
    """Dimensionality stretching (SRMD, Zhang et al., CVPR 2018): the code is repeated over all pixels and concatenated
    to the features; a 3×3 convolution follows.

    Args:
        channels: C of input and output [B, C, H, W].
        code_channels: channels of the code; default C.
    """

    takes = ("vector", "map")

    def __init__(self, channels: int, code_channels: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels + (code_channels or channels), channels, 3, padding=1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Add the information of the code, [B, code_channels] or a map of any size, to the features."""
        code = as_map(code, x).to(x.dtype)
        stretched: Tensor = self.conv(torch.cat([x, code.expand(-1, -1, *x.shape[-2:])], 1))
        return stretched


for _name, _class in {"da_conv": DAConv, "dqa": DQAConv, "region_da": RegionDAConv}.items():
    MODULATORS.register(_class, name=_name)


def build_modulator(name: str, channels: int, code_channels: int, field: str = "vector", **arguments: Any) -> nn.Module:
    """A modulator by its name.

    Args:
        name: of the table `MODULATORS`.
        channels: channels of the features.
        code_channels: channels of the code.
        field: the field of the code that it will get, "vector" or "map".
        arguments: further arguments of its constructor.

    Raises:
        ValueError: there is no such modulator, it cannot take that field, or it has no such argument.
    """
    try:
        cls = MODULATORS.get(name)
    except UnknownNameError:
        raise ValueError(f"modulator: there is no '{name}'; there are {', '.join(MODULATORS.keys())}") from None
    takes: tuple[str, ...] = getattr(cls, "takes", ("vector",))
    if field not in takes:
        suitable = [other for other, modulator in MODULATORS if field in getattr(modulator, "takes", ())]
        raise ValueError(f"modulator '{name}' cannot use a code's {field}; {', '.join(suitable)} can")
    known = [key for key in inspect.signature(cls).parameters if key not in ("channels", "code_channels")]
    unknown = [key for key in arguments if key not in known]
    if unknown:
        raise ValueError(f"modulator '{name}' has no argument {unknown[0]}; it has {', '.join(known) or 'none'}")
    modulator: nn.Module = cls(channels, code_channels, **arguments)
    return modulator
