"""Restoring by a request in words."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from uir.inference.controls import Control
from uir.inference.predictor import Place, Predictor, Whole
from uir.registry import PREDICTORS

logger = logging.getLogger("uir")


@PREDICTORS.register()
class PromptPredictor(Predictor):
    """Restores with `network_g(lq, code)`; the code is `network_t`'s of a sentence, the same for all tiles of an image.

    The sentence is the user's; else that of the batch; else that of the image's label, if it has one with a sentence;
    else the general one.

    Args:
        networks, scale, labels: as in `Predictor`.
        sentences: the sentence for each label.
        general: the sentence for all other images.
    """

    roles: ClassVar[tuple[str, ...]] = ("g", "t")
    supplies: ClassVar[tuple[str, ...]] = ("code",)
    controls: ClassVar[tuple[Control, ...]] = (
        Control(
            "prompt", "text",
            "What to do, in words; by default a sentence for the image's label, or a general one without a label.",
        ),
    )  # fmt: skip

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        scale: int = 1,
        labels: tuple[str, ...] = (),
        sentences: Mapping[str, str] | None = None,
        general: str = "Please restore this photo",
    ) -> None:
        super().__init__(networks, scale, labels)
        self.sentences, self.general = dict(sentences or {}), general
        self._told: set[str] = set()

    def settings(self) -> dict[str, Any]:
        """The sentences."""
        return {"sentences": self.sentences, "general": self.general}

    def check_values(self, values: Mapping[str, Any]) -> None:
        """Check that the text side knows a word of the sentence."""
        text: Any = self.networks["t"]
        given = values.get("prompt")
        if given is not None:
            text.check_prompts([given] if isinstance(given, str) else given)

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """The code of each whole image's sentence, and the sentences.

        Raises:
            ValueError: the text side knows no word of a sentence.
        """
        prompts = self._prompts(whole)
        code = self.networks["t"](prompts)
        for prompt, logits in zip(prompts, code.require("logits", "PromptPredictor"), strict=True):
            self._tell(prompt, logits)
        return {"code": code, "prompts": prompts}

    def _prompts(self, whole: Whole) -> list[str]:
        given = whole.controls.get("prompt", whole.batch.get("prompt"))
        if given is not None:
            return [given] * len(whole) if isinstance(given, str) else list(given)
        records = whole.batch.get("degradation")
        labels = [None] * len(whole) if records is None else records.labels
        return [self.general if label is None else self.sentences.get(label, self.general) for label in labels]

    def _tell(self, prompt: str, logits: Tensor) -> None:
        """Say once of each sentence what it is understood as, and which of its words are not known."""
        if prompt in self._told:
            return
        self._told.add(prompt)
        text: Any = self.networks["t"]
        share, index = logits.softmax(0).max(0)
        logger.info("prompt: '%s' is understood as %s (%.0f %%)", prompt, text.tasks[int(index)], 100 * float(share))
        unknown = text.unknown_words(prompt)
        if unknown:
            logger.warning("prompt: '%s': these words are not known and say nothing: %s", prompt, ", ".join(unknown))

    def run(self, lq: Tensor, conditions: Mapping[str, Any], place: Place) -> Tensor:
        """Restore a part by the sentence of the whole image."""
        restored: Tensor = self.network(lq, code=conditions["code"])
        return restored

    def extras(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """`prompt`, the sentence of each image, and `intent`, the task that it is understood as."""
        text: Any = self.networks["t"]
        return {
            "prompt": conditions["prompts"],
            "intent": [text.tasks[int(index)] for index in conditions["code"].logits.argmax(1)],
        }
