"""HiFaceGAN's arrangement (Yang et al., ACM MM 2020): a LIP encoder, and SPADE blocks guided by the degraded image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.features import FeaturePoint
from uir.layers.lip import SimplifiedLIP
from uir.layers.padding import crop, pad_to_multiple
from uir.layers.spade import Norm, SPADEResnetBlock
from uir.registry import ARCH_REGISTRY

_LARGEST = 16


@ARCH_REGISTRY.register()
class LIPSPADENet(nn.Module):
    """The degraded image is encoded down to a small map and built up again, guided by itself at every size.

    Input and output [B, 3, H, W] in [0, 1], of at least 2^num_down + 1 pixels; any H, W (padded to `pad_multiple`).
    Weights of HiFaceGAN (basicsr's keys) load; it computes in [-1, 1], this network converts inside.

    Args:
        num_in_ch: channels of the image.
        num_feat: width at full size; 64 as published.
        num_down: halvings; 5 as published.
        norm: of SPADE; `instance` as in basicsr.
    """

    scale = 1

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, num_down: int = 5, norm: Norm = "instance") -> None:
        super().__init__()
        if not 2 <= num_down <= 5:
            raise ValueError(f"num_down: expected 2 to 5, got {num_down}")
        self.pad_multiple = 2**num_down
        self.lip_encoder = LIPEncoder(num_in_ch, num_feat, num_down)
        widest = num_feat * min(2**num_down, _LARGEST)

        def block(inputs: int, outputs: int) -> SPADEResnetBlock:
            return SPADEResnetBlock(inputs, outputs, num_in_ch, norm, spectral=True, hidden=None, face=True)

        self.head_0, self.g_middle_0, self.g_middle_1 = (block(widest, widest) for _ in range(3))
        self.widths = [widest >> level for level in range(num_down)]
        self.ups = nn.ModuleList(block(a, b) for a, b in zip(self.widths, self.widths[1:], strict=False))
        self.to_rgb = nn.Conv2d(self.widths[-1], num_in_ch, 3, padding=1)

    def forward(self, lq: Tensor) -> Tensor:
        """Restore."""
        guide = pad_to_multiple(lq, self.pad_multiple) * 2 - 1
        x = _twice(self.head_0(self.lip_encoder(guide), guide))
        x = self.g_middle_1(self.g_middle_0(x, guide), guide)
        for up in self.ups:
            x = up(_twice(x), guide)
        restored = (torch.tanh(self.to_rgb(F.leaky_relu(x, 0.2))) + 1) / 2
        return crop(restored, lq.shape[-2], lq.shape[-1])

    def feature_points(self) -> list[FeaturePoint]:
        """Every block that enlarges, coarse to fine."""
        return [
            FeaturePoint(f"ups.{index}", width, self.pad_multiple >> (index + 2))
            for index, width in enumerate(self.widths[1:])
        ]

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Basicsr's keys of HiFaceGAN; `fc` and the small outputs, which it never runs, are left out."""
        last = max((key.split(".")[1] for key in state if key.startswith("to_rgbs.")), default="")
        converted = {}
        for key, value in state.items():
            if key.startswith("fc.") or (key.startswith("to_rgbs.") and key.split(".")[1] != last):
                continue
            name = key.replace(f"to_rgbs.{last}.", "to_rgb.")
            converted[name.replace(".logit.0.", ".logit.conv.").replace(".logit.1.", ".logit.bn.")] = value
        return converted


class LIPEncoder(nn.Module):
    """Convolutions and LIP in turn: [B, C, H, W] to [B, W, H / 2^n, W / 2^n], W up to 16 times the first width.

    Args:
        channels: C.
        width: of the first convolution.
        num_down: n.
    """

    def __init__(self, channels: int, width: int, num_down: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
        ]
        for level in range(num_down):
            inputs, outputs = (width * min(2**power, _LARGEST) for power in (level, level + 1))
            layers += [SimplifiedLIP(inputs), nn.Conv2d(inputs, outputs, 3, padding=1), nn.InstanceNorm2d(outputs)]
            layers += [nn.ReLU()] if level < num_down - 1 else []
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Encode."""
        return self.model(x)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
