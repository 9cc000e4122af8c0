"""OneRestore's embedder of degraded scenes (Guo et al., ECCV 2024): names and images in one space of descriptors."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.compat import prepare
from uir.encoders.timm_encoder import IMAGENET_MEAN, IMAGENET_STD
from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY

CDD11 = (
    "clear", "low", "haze", "rain", "snow", "low_haze", "low_rain", "low_snow", "haze_rain", "haze_snow",
    "low_haze_rain", "low_haze_snow",
)  # fmt: skip
"""The published scenes: those of CDD-11, and clear ones."""
_WORD_WIDTH = 300


@ARCH_REGISTRY.register()
class SceneEmbedder(nn.Module):
    """Recognises the degradations of a scene and gives their descriptor. Input [B, 3, H, W] in [0, 1].

    The `vector` [B, code_channels] of the code is the descriptor of the scene's name that fits the image best, `logits`
    [B, scenes] say how well each name fits. `describe` gives the descriptors of names.

    A descriptor is the mean of the name's word vectors, through a linear layer and a ReLU. Vectors and layer stay as
    they are at the start, as published, so only the descriptors are stored.

    Args:
        scenes: names of the scenes; words are divided by `_`.
        code_channels: numbers of a descriptor.
        trunk: timm's network that looks at the image.
        hidden: channels between it and the descriptor.
        dropout: probability of leaving out one of these channels in training.
        temperature: the cosines are divided by it.
        glove: a text file of GloVe's vectors with 300 numbers; without it each word gets normal numbers of its own.

    Raises:
        ImportError: timm is not installed.
        ValueError: there are fewer than two scenes, or a word is not in the file.
    """

    descriptors: Tensor

    def __init__(
        self,
        scenes: Sequence[str] = CDD11,
        code_channels: int = 324,
        trunk: str = "resnet18",
        hidden: int = 1024,
        dropout: float = 0.35,
        temperature: float = 0.05,
        glove: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        if len(set(scenes)) < 2 or len(set(scenes)) < len(scenes):
            raise ValueError(f"SceneEmbedder.scenes: expected at least two different names, got {list(scenes)}")
        prepare()
        try:
            import timm
        except ImportError as error:
            raise ImportError("SceneEmbedder needs timm: pip install 'uir[timm]'") from error
        self.scenes, self.code_channels, self.temperature = tuple(scenes), code_channels, temperature
        self.register_buffer("descriptors", _descriptors(_vectors_of_names(self.scenes, glove), code_channels))
        built: Any = timm.create_model(trunk, num_classes=0, global_pool="")
        self.trunk: nn.Module = built
        self.embed = nn.Sequential(
            nn.Conv2d(built.num_features, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Dropout2d(dropout),
        )
        self.final = nn.Linear(hidden, code_channels)

    def describe(self, scenes: Tensor) -> DegradationCode:
        """The descriptors of scenes, by their indices [B]."""
        return DegradationCode(vector=self.descriptors[scenes])

    def index_of(self, name: str) -> int:
        """The index of a scene.

        Raises:
            ValueError: there is no such scene.
        """
        if name not in self.scenes:
            raise ValueError(f"scene: expected one of {', '.join(self.scenes)}, got {name!r}")
        return self.scenes.index(name)

    def forward(self, image: Tensor) -> DegradationCode:
        """The code of each image; computed in full precision, so that the choice does not depend on autocasting."""
        with torch.autocast(image.device.type, enabled=False):
            return self._code(image.float())

    def _code(self, image: Tensor) -> DegradationCode:
        mean, std = (image.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        seen = self.final(self.embed(self.trunk((image - mean) / std)).mean((2, 3)))
        logits = F.normalize(seen, dim=1) @ F.normalize(self.descriptors, dim=1).T / self.temperature
        return DegradationCode(vector=self.descriptors[logits.argmax(1)], logits=logits)


def _descriptors(names: Tensor, width: int) -> Tensor:
    """A random linear layer and a ReLU of the names' vectors [N, 300]: [N, width], the same on every machine."""
    generator = torch.Generator().manual_seed(0)
    weight, bias = (
        (2 * torch.rand(shape, generator=generator) - 1) / math.sqrt(_WORD_WIDTH)
        for shape in ((width, _WORD_WIDTH), (width,))
    )
    return F.relu(names @ weight.T + bias)


def _vectors_of_names(names: Sequence[str], glove: str | os.PathLike[str] | None) -> Tensor:
    """The mean of the words' vectors of each name [N, 300]."""
    words = sorted({word for name in names for word in name.split("_")})
    vectors = _own_vectors(words) if glove is None else _read_glove(words, Path(glove))
    return torch.stack([torch.stack([vectors[word] for word in name.split("_")]).mean(0) for name in names])


def _own_vectors(words: Sequence[str]) -> dict[str, Tensor]:
    """Normal numbers of each word, the same on every machine, as long as GloVe's on average."""
    return {
        word: torch.randn(_WORD_WIDTH, generator=torch.Generator().manual_seed(zlib.crc32(word.encode()))) * 6
        / math.sqrt(_WORD_WIDTH)
        for word in words
    }  # fmt: skip


def _read_glove(words: Sequence[str], path: Path) -> dict[str, Tensor]:
    vectors: dict[str, Tensor] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            word, _, numbers = line.rstrip().partition(" ")
            if word in words:
                vectors[word] = torch.tensor([float(number) for number in numbers.split(" ")])
    missing = [word for word in words if word not in vectors or len(vectors[word]) != _WORD_WIDTH]
    if missing:
        raise ValueError(f"SceneEmbedder.glove: {path} has no vector of {_WORD_WIDTH} numbers for '{missing[0]}'")
    return vectors
