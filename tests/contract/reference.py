"""An example of a user's plug-in: a restorer that takes its colours from a reference image of the batch."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.utils.data import Dataset

from uir.data.seeded import draw_sample
from uir.inference.controls import Control
from uir.inference.predictor import Predictor
from uir.models.sr_model import SRModel
from uir.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY, PREDICTORS
from uir.registry.components import DatasetSpec, build


@DATASET_REGISTRY.register()
class ReferenceDataset(Dataset[dict[str, Any]]):
    """Adds to each sample of another data set the clean image of the next sample, as `reference`."""

    gives: ClassVar[tuple[str, ...]] = ("reference",)

    def __init__(self, dataset: DatasetSpec, phase: str = "train", scale: int = 1) -> None:
        self.dataset = build("datasets", dataset, {"phase": phase, "scale": scale})

    def __len__(self) -> int:
        return len(self.dataset)

    def sample(self, index: int, seed: int) -> dict[str, Any]:
        item = dict(draw_sample(self.dataset, index, seed))
        return {**item, "reference": draw_sample(self.dataset, (index + 1) % len(self), seed)["gt"]}

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.sample(index, index)


@ARCH_REGISTRY.register()
class ReferenceRestorer(nn.Module):
    """Multiplies its features by the mean features of a reference [B, 3, h, w] of any size. Input [B, 3, H, W]."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.look = nn.Sequential(nn.Conv2d(3, width, 3, 1, 1), nn.SiLU(), nn.AdaptiveAvgPool2d(1))
        self.head, self.tail = nn.Conv2d(3, width, 3, 1, 1), nn.Conv2d(width, 3, 3, 1, 1)

    def forward(self, lq: Tensor, reference: Tensor) -> Tensor:
        restored: Tensor = lq + self.tail(self.head(lq).tanh() * self.look(reference))
        return restored


@PREDICTORS.register()
class ReferencePredictor(Predictor):
    """Uses the user's image as the reference, else that of the batch."""

    supplies: ClassVar[tuple[str, ...]] = ("reference",)
    controls: ClassVar[tuple[Control, ...]] = (Control("reference", "image", "An image to take the colours from."),)


@MODEL_REGISTRY.register()
class ReferenceModel(SRModel):
    """Trains with the references of the batch."""

    predictor_type: ClassVar[type[Predictor]] = ReferencePredictor
