"""An example of a user's plug-in: short clips [B, T, 3, H, W], and a restorer that processes them frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from uir.data.seeded import draw_sample
from uir.inference.predictor import Place, Predictor
from uir.models.sr_model import SRModel
from uir.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY, PREDICTORS
from uir.registry.components import DatasetSpec, build


@DATASET_REGISTRY.register()
class PannedClipDataset(Dataset[dict[str, Any]]):
    """Clips from another data set's images: a window moves to the right by one pixel per frame."""

    def __init__(
        self, dataset: DatasetSpec, frames: int = 3, size: int = 12, phase: str = "train", scale: int = 1
    ) -> None:
        self.dataset = build("datasets", dataset, {"phase": phase, "scale": scale})
        self.frames, self.size = frames, size

    def __len__(self) -> int:
        return len(self.dataset)

    def sample(self, index: int, seed: int) -> dict[str, Any]:
        item = dict(draw_sample(self.dataset, index, seed))
        for key in ("lq", "gt"):
            windows = [item[key][:, : self.size, frame : frame + self.size] for frame in range(self.frames)]
            item[key] = torch.stack(windows)
        return item

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.sample(index, index)


@ARCH_REGISTRY.register()
class RecurrentRestorer(nn.Module):
    """Carries a hidden state from frame to frame. Input and output [B, T, 3, H, W]."""

    pad_multiple = 8

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.width = width
        self.cell, self.tail = nn.Conv2d(3 + width, width, 3, 1, 1), nn.Conv2d(width, 3, 3, 1, 1)

    def forward(self, lq: Tensor) -> Tensor:
        state = lq.new_zeros(len(lq), self.width, *lq.shape[-2:])
        frames = []
        for frame in lq.unbind(1):
            state = torch.tanh(self.cell(torch.cat([frame, state], 1)))
            frames.append(frame + self.tail(state))
        return torch.stack(frames, 1)


@PREDICTORS.register()
class ClipPredictor(Predictor):
    """Restores a photograph as a clip of one frame."""

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        restored: Tensor = self.network(lq if lq.ndim == 5 else lq[:, None])
        return restored if lq.ndim == 5 else restored[:, 0]


@MODEL_REGISTRY.register()
class ClipModel(SRModel):
    """Trains on clips; losses and metrics use all frames."""

    predictor_type: ClassVar[type[Predictor]] = ClipPredictor
