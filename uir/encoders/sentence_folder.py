"""Sentences as vectors, by a sentence encoder in a local folder, such as those of sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class SentenceFolder:
    """A frozen sentence encoder in the form of transformers; nothing is downloaded.

    A sentence's vector is the mean of the last hidden states of its tokens, of length 1. It is no module: its weights
    are not those of the network that uses it, and copies of that network share it.

    Args:
        folder: with `config.json`, the tokenizer and the weights.

    Raises:
        ValueError: the folder holds no encoder.
        ImportError: transformers is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        path = Path(folder)
        if not (path / "config.json").is_file():
            raise ValueError(
                f"folder: {path} holds no sentence encoder (there is no config.json); name a local copy of one, such "
                "as TaylorAI/bge-micro-v2, or leave it out for a table of words"
            )
        try:
            import transformers
        except ImportError as error:
            raise ImportError(
                "a sentence encoder in a folder needs transformers (Python 3.11 or newer): pip install 'uir[text]'"
            ) from error
        loader: Any = transformers
        self.tokenizer = loader.AutoTokenizer.from_pretrained(str(path), local_files_only=True)
        with torch.device("cpu"):  # while an option file is checked, networks are built on the device "meta"
            self.model = loader.AutoModel.from_pretrained(str(path), local_files_only=True)
        self.model.eval().requires_grad_(False)
        self.width = int(self.model.config.hidden_size)
        self._known: dict[str, Tensor] = {}

    def __deepcopy__(self, memo: Any) -> SentenceFolder:
        return self

    def embed(self, sentences: Sequence[str]) -> Tensor:
        """The vectors [B, width] of sentences, on the CPU; each one alone, so that none depends on the others."""
        for sentence in sentences:
            if sentence not in self._known:
                self._known[sentence] = self._embedded(sentence)
        return torch.stack([self._known[sentence] for sentence in sentences])

    @torch.no_grad()
    def _embedded(self, sentence: str) -> Tensor:
        tokens = self.tokenizer([sentence], padding=True, truncation=True, return_tensors="pt")
        with torch.autocast("cpu", enabled=False):
            states: Tensor = self.model(**tokens)[0].float()
        mask = tokens["attention_mask"][..., None].to(states)
        mean = (states * mask).sum(1) / mask.sum(1).clamp_min(1e-9)
        return F.normalize(mean, dim=1)[0]
