"""Training of InstructIR (Conde et al., ECCV 2024): a restorer that is told in words what to do."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from uir.config.roles import Role
from uir.config.schema import TrainOptions
from uir.core.checkpoint import read_weights
from uir.encoders.prompt_encoder import words_of
from uir.inference.predictor import Predictor
from uir.inference.prompt_predictor import PromptPredictor
from uir.layers.degradation_code import DegradationCode
from uir.models.base_model import BaseModel, offers
from uir.models.prompts import Prompts, read_prompts
from uir.registry import MODEL_REGISTRY


class InstructIROptions(TrainOptions):
    """Keys of `train` for restorers that are told what to do."""

    prompts: Path | None = Field(
        None,
        description="A file of sentences by degradation; default those that come with uir (uir/models/prompts.yml).",
    )


@MODEL_REGISTRY.register()
class InstructIRModel(BaseModel):
    """A restorer `network_g(lq, code)` and the text side `network_t` that makes the code of a sentence.

    In a step, each sample gets one of the sentences for its label, drawn with equal probability, or the batch's own
    `prompt`. `intent_opt` is called with the logits of the intention and the index of the label, such as
    `CrossEntropyLoss`. Restoring uses the control `prompt`.

    `network_t` has `tasks`, `code_channels`, and gives `vector` and `logits`, such as `PromptEncoder`. Its tasks are
    the labels of the training set, and its words those of the sentences, unless the file or its weights say others.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "t": Role(averaged=True, supplied=("tasks", "words")),
        "g": Role(averaged=True, supplied=("txtdim",)),
    }
    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "intent_opt")
    open_losses: ClassVar[bool] = True
    train_options: ClassVar[type[TrainOptions]] = InstructIROptions
    predictor_type: ClassVar[type[Predictor]] = PromptPredictor

    train_opt: InstructIROptions
    net_t: Any

    @cached_property
    def prompts(self) -> Prompts:
        """The sentences."""
        return read_prompts(self.train_opt.prompts if self.is_train else None)

    def network_sizes(self, role: str) -> dict[str, Any]:
        """The tasks and words of the text side, and the width of its embedding for the restorer."""
        if role == "g":
            return {"txtdim": self.bare["t"].code_channels}
        file: Path | None = getattr(self.path, "pretrain_network_t", None)
        trained = read_weights(file)[1].get("arch", {}) if file is not None else {}
        if trained:
            return {key: trained[key] for key in ("tasks", "words") if key in trained}
        if not self.labels:
            return {}
        tasks = sorted(self.labels)
        by_folder = self.components["t"].arguments.get("folder") is not None
        sentences = [sentence for task in tasks for sentence in self.prompts.of(task)]
        return {"tasks": tasks} if by_folder else {"tasks": tasks, "words": vocabulary(sentences)}

    def check_network(self, role: str, network: nn.Module) -> None:
        """Check that the text side has the tasks of the training set, and that each of them has sentences."""
        super().check_network(role, network)
        if role != "t":
            return
        if not hasattr(network, "tasks"):
            raise ValueError(f"network_t: {type(network).__name__} knows no tasks; use PromptEncoder")
        for label in self.labels if self.is_train else ():
            self.prompts.of(label)
            self._index_of(label)

    def leaves_unused(self, role: str) -> bool:
        """Without a loss on intentions, the layer that predicts them has no gradient."""
        return role == "t" or super().leaves_unused(role)

    def predictor_settings(self) -> dict[str, Any]:
        """The plainest sentence of each task, and the general one."""
        tasks = [task for task in self.bare["t"].tasks if self.prompts.has(task)]  # type: ignore[union-attr]
        return {"sentences": {task: self.prompts.of(task)[0] for task in tasks}, "general": self.prompts.general}

    def _index_of(self, label: str) -> int:
        tasks: tuple[str, ...] = self.bare["t"].tasks  # type: ignore[assignment]
        if label not in tasks:
            raise ValueError(f"network_t.tasks: expected the label '{label}' among them, got {', '.join(tasks)}")
        return tasks.index(label)

    def _labels(self) -> list[str]:
        records = self.batch.get("degradation")
        labels = [] if records is None else [label for label in records.labels if label is not None]
        if len(labels) < len(self.lq):
            raise ValueError("InstructIRModel needs the label of every image; give the dataset labels, or use tasks")
        return labels

    @offers("prompt")
    def prompt(self) -> list[str]:
        """The sentence of each image: the batch's own, or one of those for its label."""
        if "prompt" in self.batch:
            return list(self.batch["prompt"])
        choices = [self.prompts.of(label) for label in self._labels()]
        return [sentences[int(torch.randint(len(sentences), ()))] for sentences in choices]

    @offers("code", runs=("t",))
    def code(self) -> DegradationCode:
        """The embedding of each image's sentence, and the logits of its intention."""
        code: DegradationCode = self.net_t(self.value("prompt"))
        return code

    @offers("intent_logits", runs=("t",))
    def intent_logits(self) -> Tensor:
        """How well each task fits the sentence of each image [B, K]."""
        code: DegradationCode = self.value("code")
        return code.require("logits", "InstructIRModel")

    @offers("intent_index")
    def intent_index(self) -> Tensor:
        """The index of each image's label among the tasks [B]."""
        return torch.tensor([self._index_of(label) for label in self._labels()], device=self.device)

    def value_for(self, slot: str, name: str) -> Any:
        """The loss on intentions gets logits and indices, whatever it calls its inputs."""
        if slot == "intent_opt":
            name = {"restored": "intent_logits", "gt": "intent_index"}.get(name, name)
        return super().value_for(slot, name)

    @offers("restored", runs=("t", "g"))
    def restored_batch(self) -> Tensor:
        """The output of `network_g` for the sentences: [B, 3, H, W], float32.

        Raises:
            ValueError: its size differs from that of `gt`.
        """
        return self.fits_gt(self.net_g(self.lq, code=self.value("code")).float())


def vocabulary(sentences: list[str]) -> list[str]:
    """The words of sentences, each once, in alphabetical order."""
    return sorted({word for sentence in sentences for word in words_of(sentence)})
