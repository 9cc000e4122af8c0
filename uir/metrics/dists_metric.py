"""DISTS, deep image structure and texture similarity (Ding, Ma, Wang and Simoncelli, TPAMI 2022)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uir.layers.trunk_weights import read_trunk
from uir.layers.vgg import VGGFeatures
from uir.metrics.comparison import Comparison, as_rgb
from uir.metrics.libraries import library
from uir.metrics.protocols import Protocol, Rounding
from uir.registry import METRIC_REGISTRY

_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
_WIDTHS = (3, 64, 128, 256, 512, 512)
_LEAST_PIXELS = 16
C1 = C2 = 1e-6


@METRIC_REGISTRY.register()
class DISTS(Comparison):
    """Deep image structure and texture similarity: 0 for equal images; the mean over a batch.

    Args:
        weights: torchvision's weights of VGG16; by default they are searched for in torch's cache and then in
            `experiments/pretrained_models`. Nothing is downloaded.
        channel_weights: the published weights of the features, `alpha` and `beta`; default those in torchmetrics.
        resize: first shrink the images to a short side of 256 pixels, as the authors' script does; pyiqa does not.
        crop_border: pixels left out at each edge.
        rounding: `uint8`, as if both images were saved, or `none`.

    Raises:
        ValueError: an argument is out of range, a file does not contain what it should, or torchmetrics is not
            installed.
        FileNotFoundError: there are no weights.
    """

    label = "DISTS"
    better = "lower"

    def __init__(
        self,
        weights: Path | None = None,
        channel_weights: Path | None = None,
        resize: bool = False,
        crop_border: int = 0,
        rounding: Rounding = "uint8",
    ) -> None:
        super().__init__(
            Protocol(crop_border=crop_border, rounding=rounding), "short side 256" if resize else "full size"
        )
        self.resize = resize
        self.vgg = VGGFeatures(_LAYERS, "vgg16", weights=weights)
        for index, name in enumerate(self.vgg.names):
            if name.startswith("pool"):
                self.vgg.features[index] = HanningPool()
        if channel_weights is None:
            package = Path(library("torchmetrics", "DISTS without `channel_weights`").__file__).parent
            channel_weights = package / "functional" / "image" / "dists_models" / "weights.pt"
        shape = torch.empty(1, sum(_WIDTHS), 1, 1)
        stored = read_trunk(
            Path(channel_weights), "the weights of DISTS", [("alpha", shape), ("beta", shape)], "channel_weights"
        )
        total = stored["alpha"].double().sum() + stored["beta"].double().sum()
        self._alpha, self._beta = (stored[name].detach().double().flatten() / total for name in ("alpha", "beta"))

    @torch.no_grad()
    def scores(self, restored: Tensor, gt: Tensor) -> Tensor:
        """As `Comparison.scores`.

        Raises:
            ValueError: the images are too small for the VGG.
        """
        height, width = restored.shape[-2:]
        if min(height, width) < _LEAST_PIXELS:
            raise ValueError(f"DISTS needs at least {_LEAST_PIXELS}×{_LEAST_PIXELS} pixels, got {height}×{width}")
        features = [self._features(as_rgb(image).float()) for image in (restored, gt)]
        texture, structure = [], []
        for x, y in zip(*features, strict=True):
            mean_x, mean_y = _mean(x), _mean(y)
            x, y = (features - mean[..., None, None] for features, mean in ((x, mean_x.float()), (y, mean_y.float())))
            texture.append((2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1))
            structure.append((2 * _mean(x * y) + C2) / (_mean(x**2) + _mean(y**2) + C2))
        alpha, beta = self._alpha.to(restored.device), self._beta.to(restored.device)
        return 1 - torch.cat(texture, dim=1) @ alpha - torch.cat(structure, dim=1) @ beta

    def _features(self, image: Tensor) -> list[Tensor]:
        """The image itself and the features of the five blocks."""
        height, width = image.shape[-2:]
        if self.resize and min(height, width) > 256:
            size = [256 * side // min(height, width) for side in (height, width)]
            image = F.interpolate(image, size=size, mode="bilinear", antialias=True, align_corners=False)
        features = self.vgg.to(image.device)(image)
        return [image, *(features[layer] for layer in _LAYERS)]


def _mean(features: Tensor) -> Tensor:
    """Means [B, C] over the pixels, in double precision: DISTS is the small difference of 1 and their ratios."""
    return features.mean(dim=(2, 3), dtype=torch.float64)


class HanningPool(nn.Module):
    """Root of the mean square in a Hanning window of 3×3 pixels, every second pixel (eq. 2 of the paper)."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("window", torch.outer(taps, taps)[None, None], persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, ⌈H/2⌉, ⌈W/2⌉]."""
        channels = features.shape[1]
        window = self.window.expand(channels, -1, -1, -1)
        return (F.conv2d(features**2, window, stride=2, padding=1, groups=channels) + 1e-12).sqrt()
