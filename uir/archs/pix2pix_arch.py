"""The U-Net generator of pix2pix (Isola et al., Image-to-Image Translation, CVPR 2017, Sec. 6.1.1)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from uir.layers.features import FeaturePoint
from uir.layers.padding import crop, pad_to_multiple
from uir.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class Pix2PixUNet(nn.Module):
    """Halves the image down to a few pixels and builds it up again, with a skip at every size.

    Input and output [B, 3, H, W] in [0, 1]; any H, W (padded to `pad_multiple`, 256 as published). The authors' network
    computes in [-1, 1]; this one converts inside, and their keys load.

    Args:
        num_in_ch: channels of the image.
        num_feat: width of the first layer; 64 as published.
        num_downs: halvings, at least 3; 8 as published for 256 pixels.
        norm: `batch` (published) or `instance`.
        use_dropout: dropout of a half in the wide layers of the decoder, in training.

    Raises:
        ValueError: an argument is out of range.
    """

    scale = 1

    def __init__(
        self,
        num_in_ch: int = 3,
        num_feat: int = 64,
        num_downs: int = 8,
        norm: Literal["batch", "instance"] = "batch",
        use_dropout: bool = False,
    ) -> None:
        super().__init__()
        if num_downs < 3:
            raise ValueError(f"num_downs: expected at least 3, got {num_downs}")
        if norm not in ("batch", "instance"):
            raise ValueError(f"norm: expected batch or instance, got {norm!r}")
        self.pad_multiple = 2**num_downs
        self.widths = [num_feat * min(2**level, 8) for level in range(num_downs)]
        block = _SkipBlock(self.widths[-2], self.widths[-1], None, norm, dropout=False)
        for level in reversed(range(1, num_downs - 1)):
            dropout = use_dropout and level >= 4
            block = _SkipBlock(self.widths[level - 1], self.widths[level], block, norm, dropout)
        self.model: Any = nn.Module()
        self.model.model = nn.Sequential(
            nn.Conv2d(num_in_ch, num_feat, 4, 2, 1, bias=norm == "instance"),
            block,
            nn.ReLU(),
            nn.ConvTranspose2d(2 * num_feat, num_in_ch, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, lq: Tensor) -> Tensor:
        """Restore."""
        restored = self.model.model(pad_to_multiple(lq, self.pad_multiple) * 2 - 1)
        return crop((restored + 1) / 2, lq.shape[-2], lq.shape[-1])

    def feature_points(self) -> list[FeaturePoint]:
        """Every block's skip and result side by side, coarse to fine."""
        path, points = "model.model.1", []
        for level, width in enumerate(self.widths[:-1]):
            points.append(FeaturePoint(path, 2 * width, 2 ** (level + 1)))
            path += ".model.3"
        return points[::-1]


class _SkipBlock(nn.Module):
    """The image beside what the smaller sizes make of it: [B, C, H, W] to [B, 2 C, H, W].

    Args:
        outer, inner: widths at this size and at half of it.
        within: the block of half the size; None for the smallest.
        norm: of the features.
        dropout: whether the result is dropped out.
    """

    def __init__(self, outer: int, inner: int, within: _SkipBlock | None, norm: str, dropout: bool) -> None:
        super().__init__()
        biased = norm == "instance"
        make = nn.InstanceNorm2d if biased else nn.BatchNorm2d
        layers: list[nn.Module] = [nn.LeakyReLU(0.2), nn.Conv2d(outer, inner, 4, 2, 1, bias=biased)]
        if within is not None:
            layers += [make(inner), within]
        inputs = inner if within is None else 2 * inner
        layers += [nn.ReLU(), nn.ConvTranspose2d(inputs, outer, 4, 2, 1, bias=biased), make(outer)]
        self.model = nn.Sequential(*layers, *([nn.Dropout(0.5)] if dropout else []))

    def forward(self, x: Tensor) -> Tensor:
        """The features and the result."""
        return torch.cat([x, self.model(x)], 1)
