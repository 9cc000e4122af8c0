"""An example of a user's plug-in: a metric of a whole set of images, and an observer that writes a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from uir.metrics.observers import Measured, ValidationObserver, Watch
from uir.registry import METRIC_REGISTRY, OBSERVERS


@METRIC_REGISTRY.register()
class SmallFrechet:
    """Fréchet distance between restored and clean images, by the features of a fixed random convolution."""

    better = "lower"

    def __init__(self, channels: int = 4) -> None:
        self.kernels = torch.randn(channels, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def update(self, restored: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
        """The features of both images, one row for each position of a grid [N, channels]."""
        return self._features(restored), self._features(gt)

    def compute(self, contributions: Sequence[tuple[Tensor, Tensor]]) -> float:
        restored, clean = (torch.cat(rows) for rows in zip(*contributions, strict=True))
        first, second = torch.cov(restored.T), torch.cov(clean.T)
        crossed = torch.linalg.eigvals(first @ second).real.clamp_min(0).sqrt().sum()
        return float((restored.mean(0) - clean.mean(0)).square().sum() + (first.trace() + second.trace() - 2 * crossed))

    def _features(self, image: Tensor) -> Tensor:
        return F.conv2d(image.double(), self.kernels, stride=4).movedim(1, -1).flatten(0, -2)


@OBSERVERS.register()
class SpreadObserver(ValidationObserver):
    """Writes the spread of each restored image to `spread_<iteration>.json`."""

    def __init__(self) -> None:
        self.spreads: dict[str, float] = {}

    def watch(self, dataset: str, iteration: int | str) -> Watch:
        def see(batch: Mapping[str, Any], restored: Tensor) -> None:
            self.spreads[f"{dataset}/{Path(batch['lq_path'][0]).stem}"] = float(restored.std())

        return see

    def finish(
        self, folder: Path, iteration: int | str, found: Sequence[Measured], best: Mapping[str, Any] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"spread_{iteration}.json").write_text(json.dumps(self.spreads))
        self.spreads = {}
