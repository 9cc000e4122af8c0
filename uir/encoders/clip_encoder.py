"""Embeddings of content and degradation by a CLIP in a local folder (Radford et al., ICML 2021), without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY

DACLIP_TYPES = (
    "motion-blurry", "hazy", "jpeg-compressed", "low-light", "noisy", "raindrop", "rainy", "shadowed", "snowy",
    "uncompleted",
)  # fmt: skip
"""DA-CLIP's ten types of degradation."""
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class ClipFolder:
    """A frozen CLIP in the form of transformers; nothing is downloaded. Copies of a network share it.

    Args:
        folder: with `config.json`, the tokenizer and the weights.

    Raises:
        ValueError: the folder holds no CLIP.
        ImportError: transformers is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        path = Path(folder)
        if not (path / "config.json").is_file():
            raise ValueError(
                f"CLIPEncoder.folder: {path} holds no CLIP (there is no config.json); name a local copy of one, "
                "such as openai/clip-vit-base-patch32, or use a degradation encoder of uir as network_e"
            )
        try:
            import transformers
        except ImportError as error:
            needs = "a CLIP in a folder needs transformers (Python 3.11 or newer): pip install 'uir[text]'"
            raise ImportError(needs) from error
        loader: Any = transformers
        self.tokenizer = loader.AutoTokenizer.from_pretrained(str(path), local_files_only=True)
        with torch.device("cpu"):  # while an option file is checked, networks are built on the device "meta"
            self.model = loader.CLIPModel.from_pretrained(str(path), local_files_only=True)
        self.model.eval().requires_grad_(False)
        self.side, self.width = self.model.config.vision_config.image_size, self.model.config.projection_dim
        self.sharpness = float(self.model.logit_scale.exp())

    def __deepcopy__(self, memo: Any) -> ClipFolder:
        return self

    @torch.no_grad()
    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """The embeddings [N, width] of texts, on the CPU."""
        with torch.device("cpu"):
            tokens = self.tokenizer(list(texts), padding=True, return_tensors="pt")
            embedded: Tensor = self.model.text_projection(self.model.text_model(**tokens)[1]).float()
        return embedded

    @torch.no_grad()
    def of_images(self, images: Tensor) -> Tensor:
        """The embeddings [B, width] of images [B, 3, H, W] in [0, 1]."""
        self.model.to(images.device)
        small = F.interpolate(images, (self.side, self.side), mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (small.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        embedded: Tensor = self.model.visual_projection(self.model.vision_model((small - mean) / std)[1]).float()
        return embedded


@ARCH_REGISTRY.register()
class CLIPEncoder(nn.Module):
    """What an image shows, and how it is degraded. Input [B, 3, H, W] in [0, 1].

    The code has `content` [B, D], the embedding of the image; `vector` [B, D], the embeddings of the types' names by
    how well they fit the image; and `logits` [B, types]. There is nothing to train: DA-CLIP's controller, which does
    that better, is not there.

    Args:
        folder: a local CLIP that transformers reads.
        types: names of the degradations.

    Raises:
        ValueError: the folder holds no CLIP, or there is no type.
        ImportError: the folder needs transformers.
    """

    names: Tensor

    def __init__(self, folder: str | Path, types: Sequence[str] = DACLIP_TYPES) -> None:
        super().__init__()
        if not types:
            raise ValueError("CLIPEncoder.types: expected at least one name")
        self.clip, self.types = ClipFolder(folder), tuple(types)
        self.code_channels = int(self.clip.width)
        self.register_buffer("names", self.clip.of_texts(self.types))

    def forward(self, image: Tensor) -> DegradationCode:
        """The code of each image, in full precision."""
        with torch.autocast(image.device.type, enabled=False):
            content = self.clip.of_images(image.float())
            logits = self.clip.sharpness * F.normalize(content, dim=1) @ F.normalize(self.names, dim=1).T
            return DegradationCode(vector=logits.softmax(1) @ self.names, content=content, logits=logits)
