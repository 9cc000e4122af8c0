"""The predictor of IKC (Gu et al., CVPR 2019): it estimates the parameters of a degradation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY

_SLOPE, _SMALL_START = 0.2, 0.3


@ARCH_REGISTRY.register()
class IKCPredictor(nn.Module):
    """Six 5×5 convolutions and a mean over the image. Input [B, 3, H, W] in [0, 1]; `params` and `vector` [B, P].

    The vector equals the parameters, so that a backbone can use them. Keys of the convolutions are the authors'.

    Args:
        in_nc: channels of the image.
        nf: channels of the convolutions.
        num_params: P; IKC uses 10, a kernel's coordinates in a principal component analysis.

    Raises:
        ValueError: a number is below 1.
    """

    def __init__(self, in_nc: int = 3, nf: int = 64, num_params: int = 10) -> None:
        super().__init__()
        if min(in_nc, nf, num_params) < 1:
            raise ValueError(
                f"IKCPredictor: in_nc, nf and num_params must be at least 1, got {in_nc}, {nf} and {num_params}"
            )
        self.code_channels = num_params
        layers: list[nn.Module] = []
        for index in range(6):
            before, after = in_nc if index == 0 else nf, num_params if index == 5 else nf
            stride = 2 if index == 3 else 1
            layers += [nn.Conv2d(before, after, 5, stride=stride, padding=2), nn.LeakyReLU(_SLOPE)]
        self.ConvNet = nn.Sequential(*layers)
        self._start()

    def _start(self) -> None:
        """He's start, the last layer's small around 1/2: with torch's, all images would have the same parameters."""
        convolutions = [layer for layer in self.ConvNet if isinstance(layer, nn.Conv2d)]
        for layer in convolutions:
            nn.init.kaiming_normal_(layer.weight, a=_SLOPE)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            convolutions[-1].weight.mul_(_SMALL_START)
            convolutions[-1].bias.fill_(0.5)

    def forward(self, image: Tensor) -> DegradationCode:
        """The code of each image [B, in_nc, H, W] in [0, 1]; any H, W."""
        params = self.ConvNet(image).mean((2, 3))
        return DegradationCode(vector=params, params=params)
