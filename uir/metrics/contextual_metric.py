"""The contextual distance of two images' features (Mechrez, Talmi and Zelnik-Manor, ECCV 2018)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from uir.layers.contextual import contextual_distance
from uir.layers.vgg import VGGFeatures
from uir.metrics.comparison import Comparison, as_rgb
from uir.metrics.protocols import Protocol, Rounding
from uir.registry import METRIC_REGISTRY


@METRIC_REGISTRY.register()
class Contextual(Comparison):
    """Contextual distance on VGG19: compares the features of both images as sets, so that shifts count little.

    0 for equal images; the sum over the layers, the mean over a batch.

    Args:
        weights: torchvision's weights of VGG19; by default they are searched for in torch's cache and then in
            `experiments/pretrained_models`. Nothing is downloaded.
        layers: VGG19's layers; `conv` features come before the ReLU.
        bandwidth: h of the paper's eq. 3.
        max_positions: features with more positions are represented by so many of them, the same for both images and
            chosen with a fixed seed: all pairs are compared.
        crop_border: pixels left out at each edge.
        rounding: `uint8`, as if both images were saved, or `none`.

    Raises:
        ValueError: an argument is out of range, or the file does not contain VGG19.
        FileNotFoundError: there are no weights.
    """

    label = "Contextual"
    better = "lower"

    def __init__(
        self,
        weights: Path | None = None,
        layers: tuple[str, ...] = ("conv3_2", "conv4_2"),
        bandwidth: float = 0.5,
        max_positions: int = 65 * 65,
        crop_border: int = 0,
        rounding: Rounding = "uint8",
    ) -> None:
        if bandwidth <= 0:
            raise ValueError(f"bandwidth: expected a positive number, got {bandwidth}")
        if max_positions < 2:
            raise ValueError(f"max_positions: expected at least 2, got {max_positions}")
        note = f"{'+'.join(layers)} of VGG19, bandwidth {bandwidth:g}"
        super().__init__(Protocol(crop_border=crop_border, rounding=rounding), note)
        self.bandwidth, self.max_positions = bandwidth, max_positions
        self.vgg = VGGFeatures(layers, "vgg19", weights=weights)

    @torch.no_grad()
    def scores(self, restored: Tensor, gt: Tensor) -> Tensor:
        """As `Comparison.scores`."""
        # Image by image, because the features are centred by all that they are given.
        return torch.stack([self._score(x[None], y[None]) for x, y in zip(restored, gt, strict=True)])

    def _score(self, restored: Tensor, gt: Tensor) -> Tensor:
        vgg = self.vgg.to(restored.device)
        found, wanted = (vgg(as_rgb(image).float()) for image in (restored, gt))
        distances = []
        for layer in self.vgg.layers:
            x, y = found[layer], wanted[layer]
            positions = x.shape[-2] * x.shape[-1]
            if positions > self.max_positions:
                order = torch.randperm(positions, generator=torch.Generator().manual_seed(0))
                chosen = order[: self.max_positions].to(x.device)
                x, y = (features.flatten(2)[..., chosen, None] for features in (x, y))
            distances.append(contextual_distance(x, y, self.bandwidth)[0])
        return torch.stack(distances).sum()
