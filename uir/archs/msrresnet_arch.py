"""MSRResNet, SRGAN's restorer without batch normalisation, and its version of several experts (DASR, Liang et al.)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.experts import DynamicConv2d, check_shares, copied_experts, mixed, spread_experts
from uir.layers.features import FeaturePoint
from uir.registry import ARCH_REGISTRY

MakeConv = Callable[[int, int], nn.Module]
_SMALL_START = 0.1  # factor of the convolutions' random weights, as published


def _start_small(*convs: nn.Module) -> None:
    """Start convolutions as published: a tenth of He's deviation, no bias; experts are spread around such a draw."""
    with torch.no_grad():
        for conv in convs:
            if isinstance(conv, DynamicConv2d):
                draws = [nn.init.kaiming_normal_(torch.empty_like(expert)) for expert in conv.weight]
                conv.weight.copy_(spread_experts(torch.stack(draws) * _SMALL_START))
                conv.bias.zero_()
            elif isinstance(conv, nn.Conv2d) and conv.bias is not None:
                nn.init.kaiming_normal_(conv.weight).mul_(_SMALL_START)
                conv.bias.zero_()


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to the input; [B, C, H, W] to the same shape.

    Args:
        channels: C.
        conv: makes a 3×3 convolution of some input and output channels.
    """

    def __init__(self, channels: int, conv: MakeConv) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(channels, channels), conv(channels, channels)
        _start_small(self.conv1, self.conv2)

    def forward(self, x: Tensor, *experts: Tensor) -> Tensor:
        """One block; `experts` is given to the convolutions."""
        residual: Tensor = self.conv2(F.relu(self.conv1(x, *experts)), *experts)
        return x + residual


class _MSRResNetBase(nn.Module):
    """Layers and order of both networks; they differ in their convolutions."""

    pad_multiple = 1

    def __init__(
        self, num_in_ch: int, num_out_ch: int, num_feat: int, num_block: int, upscale: int, conv: MakeConv
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if upscale not in (1, 2, 3, 4):
            raise ValueError(f"{name}.upscale: expected 1, 2, 3 or 4, got {upscale}")
        if min(num_in_ch, num_out_ch, num_feat, num_block) < 1:
            raise ValueError(f"{name}: num_in_ch, num_out_ch, num_feat and num_block must be at least 1")
        if upscale > 1 and num_in_ch != num_out_ch:
            raise ValueError(f"{name}: num_in_ch and num_out_ch must be equal, got {num_in_ch} and {num_out_ch}")
        self.scale, self.num_feat = upscale, num_feat
        self.conv_first = conv(num_in_ch, num_feat)
        self.body = nn.ModuleList(ResidualBlock(num_feat, conv) for _ in range(num_block))
        first = 2 if upscale == 4 else upscale
        if upscale > 1:
            self.upconv1 = conv(num_feat, num_feat * first**2)
        if upscale == 4:
            self.upconv2 = conv(num_feat, num_feat * 4)
        self.conv_hr, self.conv_last = conv(num_feat, num_feat), conv(num_feat, num_out_ch)
        # in this order, so that a seed gives the weights that it gives in basicsr
        names = ("conv_first", "upconv1", "conv_hr", "conv_last", "upconv2")
        _start_small(*(getattr(self, name) for name in names if hasattr(self, name)))

    def feature_points(self) -> list[FeaturePoint]:
        """One point after each block."""
        return [FeaturePoint(f"body.{index}", self.num_feat, 1) for index in range(len(self.body))]

    def _restored(self, lq: Tensor, *experts: Tensor) -> Tensor:
        features = _active(self.conv_first(lq, *experts))
        for block in self.body:
            features = block(features, *experts)
        base = lq
        if self.scale > 1:
            first = 2 if self.scale == 4 else self.scale
            features = _active(F.pixel_shuffle(self.upconv1(features, *experts), first))
            base = F.interpolate(lq, scale_factor=float(self.scale), mode="bilinear", align_corners=False)
        if self.scale == 4:
            features = _active(F.pixel_shuffle(self.upconv2(features, *experts), 2))
        restored: Tensor = self.conv_last(_active(self.conv_hr(features, *experts)), *experts)
        return restored + base


def _active(features: Tensor) -> Tensor:
    """Not in place: a hook on the layer before it would see other features than that layer's own."""
    return F.leaky_relu(features, 0.1)


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


@ARCH_REGISTRY.register()
class MSRResNet(_MSRResNetBase):
    """SRGAN's residual network without batch normalisation, on the bilinearly enlarged image; any H, W.

    [B, num_in_ch, H, W] to [B, num_out_ch, H·upscale, W·upscale]. Arguments and keys are those of basicsr.

    Args:
        num_in_ch, num_out_ch: channels of the image.
        num_feat: channels of the features.
        num_block: residual blocks.
        upscale: 1, 2, 3 or 4.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 64, num_block: int = 16, upscale: int = 4
    ) -> None:
        super().__init__(num_in_ch, num_out_ch, num_feat, num_block, upscale, _conv)

    def forward(self, lq: Tensor) -> Tensor:
        """Restore [B, num_in_ch, H, W] in [0, 1]; not clipped."""
        return self._restored(lq)


@ARCH_REGISTRY.register()
class MSRResNetDynamic(_MSRResNetBase):
    """MSRResNet of which every convolution is a mixture of experts: DASR's restorer (Liang et al., ECCV 2022).

    Arguments and keys are the authors'. With the weights of an image, the network equals a plain MSRResNet, so that
    restoring costs no more (`collapsed`). A checkpoint of a plain MSRResNet is copied into all experts on loading.

    Args:
        num_in_ch, num_out_ch, num_feat, num_block, upscale: as in `MSRResNet`.
        num_models: number of experts.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        num_feat: int = 64,
        num_block: int = 16,
        num_models: int = 5,
        upscale: int = 4,
    ) -> None:
        if num_models < 1:
            raise ValueError(f"MSRResNetDynamic.num_models: expected at least 1, got {num_models}")

        def conv(in_channels: int, out_channels: int) -> nn.Module:
            return DynamicConv2d(in_channels, out_channels, 3, num_models)

        super().__init__(num_in_ch, num_out_ch, num_feat, num_block, upscale, conv)
        self.num_experts = num_models
        self._plain = {
            "type": "MSRResNet",
            "num_in_ch": num_in_ch,
            "num_out_ch": num_out_ch,
            "num_feat": num_feat,
            "num_block": num_block,
            "upscale": upscale,
        }

    def forward(self, lq: Tensor, experts: Tensor | None = None) -> Tensor:
        """Restore a batch.

        Args:
            lq: [B, num_in_ch, H, W] in [0, 1].
            experts: the weight of each expert [B, num_models], or [1, num_models] for all images.

        Returns:
            [B, num_out_ch, H·upscale, W·upscale], not clipped.

        Raises:
            ValueError: `experts` is missing or has another shape.
        """
        return self._restored(lq, check_shares(experts, self.num_experts, len(lq), "MSRResNetDynamic"))

    def collapsed(self, experts: Tensor) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The plain network for some weights of the experts [num_models]: its description, and its own weights."""
        return dict(self._plain), {key: mixed(value, experts) for key, value in self.state_dict().items()}

    def fitted_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of a checkpoint for this network: that of a plain MSRResNet is copied into all experts."""
        return copied_experts(state, self.state_dict())
