"""An example of a user's plug-in: a restorer that gets its task as a text; the text is in the batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from uir.data.seeded import draw_sample
from uir.inference.controls import Control
from uir.inference.predictor import Predictor
from uir.models.sr_model import SRModel
from uir.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY, PREDICTORS
from uir.registry.components import DatasetSpec, build

WORDS = ("remove", "sharpen", "the", "noise", "blur", "image")


@DATASET_REGISTRY.register()
class PromptDataset(Dataset[dict[str, Any]]):
    """Adds to each sample of another data set the sentence for its label."""

    gives: ClassVar[tuple[str, ...]] = ("prompt",)

    def __init__(self, dataset: DatasetSpec, prompts: dict[str, str], phase: str = "train", scale: int = 1) -> None:
        self.dataset = build("datasets", dataset, {"phase": phase, "scale": scale})
        self.prompts = prompts
        self.labels = tuple(getattr(self.dataset, "labels", ()))

    def __len__(self) -> int:
        return len(self.dataset)

    def sample(self, index: int, seed: int) -> dict[str, Any]:
        item = dict(draw_sample(self.dataset, index, seed))
        return {**item, "prompt": self.prompts[item["degradation"].label]}

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.sample(index, index)


@ARCH_REGISTRY.register()
class PromptedRestorer(nn.Module):
    """Scales its features by the mean of the words' embeddings. Input [B, 3, H, W] and B sentences."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS) + 1, width)
        self.head, self.tail = nn.Conv2d(3, width, 3, 1, 1), nn.Conv2d(width, 3, 3, 1, 1)

    def forward(self, lq: Tensor, prompt: list[str]) -> Tensor:
        codes = torch.stack([self.words(self._indices(sentence, lq.device)).mean(0) for sentence in prompt])
        restored: Tensor = lq + self.tail(torch.tanh(self.head(lq)) * codes[:, :, None, None])
        return restored

    @staticmethod
    def _indices(sentence: str, device: torch.device) -> Tensor:
        return torch.tensor([WORDS.index(word) if word in WORDS else len(WORDS) for word in sentence.split()]).to(
            device
        )


@PREDICTORS.register()
class WordsPredictor(Predictor):
    """Uses the user's prompt, else that of the batch."""

    supplies: ClassVar[tuple[str, ...]] = ("prompt",)
    controls: ClassVar[tuple[Control, ...]] = (Control("prompt", "text", "The task, as a text."),)

    def conditions(self, whole: Any) -> Mapping[str, Any]:
        prompt = whole.value("prompt")
        return {"prompt": [prompt] * len(whole) if isinstance(prompt, str) else prompt}


@MODEL_REGISTRY.register()
class PromptModel(SRModel):
    """Trains with the prompts of the batch."""

    predictor_type: ClassVar[type[Predictor]] = WordsPredictor
