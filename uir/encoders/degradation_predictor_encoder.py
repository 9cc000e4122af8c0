"""The predictor of DASR (Liang et al., ECCV 2022): it describes the degradation, and weighs experts by it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from uir.encoders.ikc_encoder import SLOPE, IKCPredictor
from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY

HIDDEN = 15
_SMALL_START = 0.1  # of the mapping
_SMALL_SPREAD, _MIDDLE = 0.3, 0.5  # of the numbers, most of which lie in [0, 1]


class ExpertMapping(nn.Sequential):
    """The parameters of a degradation [B, P] to weights of experts [B, K]: two linear layers, no activation.

    As published the weights are used as they are; they may be negative, and need not add up to 1. In uir they start
    near 1 / K, so that mixed experts begin as one network. Keys are the authors'.

    Args:
        num_params: P.
        num_networks: K.
        use_bias: whether the layers have a bias.
    """

    def __init__(self, num_params: int = 33, num_networks: int = 5, use_bias: bool = True) -> None:
        last = nn.Linear(HIDDEN, num_networks, use_bias)
        super().__init__(nn.Linear(num_params, HIDDEN, use_bias), last)
        if last.bias is not None:
            with torch.no_grad():
                last.weight.mul_(_SMALL_START)
                last.bias.fill_(1 / num_networks)


@ARCH_REGISTRY.register(name="Degradation_Predictor")
@ARCH_REGISTRY.register()
class DegradationPredictor(IKCPredictor):
    """IKC's trunk with the numbers that describe a degradation, and the weights of the experts for it.

    Input [B, 3, H, W] in [0, 1]; the code's `params` and `vector` are [B, P], its `experts` [B, K]. Arguments and keys
    are the authors', and so is the second name, `Degradation_Predictor`. The convolutions start by He's rule (ICCV
    2015): with torch's start, the numbers of all images would be the same up to 1e-4, and hardly learn.

    Args:
        in_nc: channels of the image.
        nf: channels of the convolutions.
        num_params: P; DASR has 33, see the vectoriser `dasr_liang`.
        num_networks: number of experts.
        use_bias: whether the mapping's layers have a bias.

    Raises:
        ValueError: a number is below 1.
    """

    def __init__(
        self, in_nc: int = 3, nf: int = 64, num_params: int = 33, num_networks: int = 5, use_bias: bool = True
    ) -> None:
        super().__init__(in_nc, nf, num_params)
        if num_networks < 1:
            raise ValueError(f"DegradationPredictor.num_networks: expected at least 1, got {num_networks}")
        self._start()
        self.num_networks = num_networks
        self.MappingNet = ExpertMapping(num_params, num_networks, use_bias)

    def forward(self, image: Tensor) -> DegradationCode:
        """The code of each image [B, in_nc, H, W] in [0, 1]; any H, W."""
        code = super().forward(image)
        return replace(code, experts=self.route(code))

    def _start(self) -> None:
        """He's start, with numbers around the middle of their range."""
        convolutions = [layer for layer in self.ConvNet if isinstance(layer, nn.Conv2d)]
        with torch.no_grad():
            for layer in convolutions:
                nn.init.kaiming_normal_(layer.weight, a=SLOPE)
                if layer.bias is not None:
                    layer.bias.fill_(_MIDDLE if layer is convolutions[-1] else 0)
            convolutions[-1].weight.mul_(_SMALL_SPREAD)

    def predict(self, image: Tensor) -> DegradationCode:
        """The same as `forward`, by the name of its counterpart `route`."""
        return self.forward(image)

    def route(self, code: DegradationCode) -> Tensor:
        """The weights of the experts [B, K] for a code's `params`, which a user may have changed."""
        shares: Tensor = self.MappingNet(code.require("params", "DegradationPredictor.route", self.code_channels))
        return shares
