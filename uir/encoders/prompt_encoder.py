"""The text side of InstructIR (Conde et al., ECCV 2024): a request in words becomes an embedding and an intention."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.encoders.sentence_folder import SentenceFolder
from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY


class LMHead(nn.Module):
    """From a sentence's vector to the embedding that steers the restorer, and from it to the intention.

    Names are the authors', so their checkpoints load with `strict=True`.

    Args:
        embedding_dim: numbers of a sentence's vector.
        hidden_dim: numbers of the embedding.
        num_classes: number of intentions.
    """

    def __init__(self, embedding_dim: int = 384, hidden_dim: int = 256, num_classes: int = 7) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embedding_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, num_classes)

    def project(self, sentences: Tensor) -> DegradationCode:
        """The embeddings of length 1 (`vector` [B, hidden_dim]), and `logits` [B, num_classes].

        Args:
            sentences: their vectors [B, embedding_dim].
        """
        embedding = F.normalize(self.fc1(sentences), dim=1)
        return DegradationCode(vector=embedding, logits=self.fc2(embedding))


def words_of(sentence: str) -> list[str]:
    """The words of a sentence in small letters."""
    return re.findall(r"\w+", sentence.lower())


@ARCH_REGISTRY.register()
class PromptEncoder(LMHead):
    """Requests in words. Input: B sentences; the code has `vector` [B, hidden_dim] and `logits` [B, tasks].

    With a `folder`, a frozen sentence encoder gives the sentences' vectors, as published: any sentence has one, and
    means what is nearest to it. The folder's weights are not in the checkpoint.

    Without one, a sentence's vector is the mean over its known words, of length 1; each word has a trained vector. A
    word that is not among `words` says nothing, and the order of words has no effect. A sentence without any known word
    is an error.

    Args:
        tasks: names of the intentions, in the order of the logits; those of the training set's labels by default.
        words: the known words; those of the training's prompts by default. Not used with a `folder`.
        folder: a local sentence encoder that transformers reads.
        embedding_dim: numbers of a word's vector; with a `folder`, the width of its encoder.
        hidden_dim: numbers of the embedding.

    Raises:
        ValueError: there is no task, neither words nor a folder, or the folder has no encoder or another width.
        ImportError: the folder needs transformers.
    """

    def __init__(
        self,
        tasks: Sequence[str] = ("noise", "blur", "rain", "haze", "low_light", "low_resolution", "retouching"),
        words: Sequence[str] = (),
        folder: str | Path | None = None,
        embedding_dim: int = 384,
        hidden_dim: int = 256,
    ) -> None:
        if not tasks or len(set(tasks)) < len(tasks):
            raise ValueError(f"PromptEncoder.tasks: expected different names, at least one, got {list(tasks)}")
        super().__init__(embedding_dim, hidden_dim, len(tasks))
        self.tasks, self.code_channels = tuple(tasks), hidden_dim
        self.sentences = None if folder is None else SentenceFolder(folder)
        self._row_of = {} if folder is not None else {word: row for row, word in enumerate(dict.fromkeys(words))}
        if self.sentences is None:
            if not self._row_of:
                raise ValueError("PromptEncoder: needs words, or the folder of a sentence encoder")
            self.words = nn.Embedding(len(self._row_of), embedding_dim)
        elif self.sentences.width != embedding_dim:
            raise ValueError(
                f"PromptEncoder.embedding_dim: {embedding_dim}, but the encoder in {folder} gives vectors of "
                f"{self.sentences.width} numbers; write embedding_dim: {self.sentences.width}"
            )

    def unknown_words(self, sentence: str) -> list[str]:
        """The words of a sentence that say nothing here, each once; with a folder none."""
        return [] if self.sentences else [w for w in dict.fromkeys(words_of(sentence)) if w not in self._row_of]

    def forward(self, prompts: Sequence[str]) -> DegradationCode:
        """The code of each sentence; in full precision, so that an intention does not depend on autocasting.

        Raises:
            ValueError: a sentence has no known word.
        """
        device = self.fc1.weight.device
        with torch.autocast(device.type, enabled=False):
            vectors = self.sentences.embed(prompts).to(device) if self.sentences else self._of_words(prompts)
            return self.project(vectors)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Check that each sentence says something; with a folder every sentence does.

        Raises:
            ValueError: a sentence has no known word.
        """
        for sentence in () if self.sentences else prompts:
            if not self._rows_of(sentence):
                raise ValueError(
                    f"prompt: {sentence!r} has no word that this network was trained with; it knows, among others, "
                    f"{', '.join(sorted(self._row_of, key=len)[-8:])}"
                )

    def _rows_of(self, sentence: str) -> list[int]:
        """The rows of the words that are known."""
        return [self._row_of[word] for word in words_of(sentence) if word in self._row_of]

    def _of_words(self, prompts: Sequence[str]) -> Tensor:
        self.check_prompts(prompts)
        device = self.fc1.weight.device
        rows = [torch.tensor(self._rows_of(sentence), device=device) for sentence in prompts]
        return F.normalize(torch.stack([self.words(known).mean(0) for known in rows]), dim=1)
