"""Pipelines that note their choice in the record: stages, levels and tasks; and the replay of a record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from uir.degradations.base import Degradation, DrawContext, Params, Size, check_image
from uir.degradations.pipeline_degradation import Pipeline, child_of, draw_child, normalised_weights, pick
from uir.degradations.record import MARK, DegradationRecord, Step
from uir.registry import DEGRADATION_REGISTRY
from uir.registry.components import DegradationSpec


@DEGRADATION_REGISTRY.register()
class Mark(Degradation):
    """Mark: leaves the image unchanged; the record contains its level or task.

    Args:
        label: the name of the task; it becomes the record's label if there is no other.
        level: the name of the level.
    """

    family: ClassVar[str] = "mark"

    def __init__(self, label: str | None = None, level: str | None = None) -> None:
        self.noted = {key: value for key, value in (("label", label), ("level", level)) if value is not None}
        if not self.noted:
            raise ValueError("Mark: needs `label` or `level`; there is nothing to note")

    def sample(self, seed: int, size: Size) -> Params:
        """`label`, `level`, or both."""
        return dict(self.noted)

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """A copy of the image."""
        check_image(image, MARK)
        return image.clone()

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """0: it does not degrade."""
        return 0.0


@DEGRADATION_REGISTRY.register()
class Level(Pipeline):
    """One of several named levels of severity, at random; the record contains its name as `level`.

    Args:
        levels: name -> `{type: ..., ...}` mapping.
        weights: name -> weight; divided by their sum. Default: equal weights.
        per_batch: one level for all images of a batch, as in some published code; otherwise each has its own, and then
            all levels must give the same size.
    """

    noted: ClassVar[str] = "level"

    def __init__(
        self,
        levels: dict[str, DegradationSpec],
        weights: dict[str, float] | None = None,
        per_batch: bool = False,
    ) -> None:
        self._set(type(self).__name__, "levels", levels, weights)
        self.per_batch = per_batch

    def _set(self, owner: str, argument: str, branches: Any, weights: Any) -> None:
        if not isinstance(branches, Mapping) or not branches:
            raise ValueError(f"{owner}.{argument}: expected at least one `name: {{type: ...}}`, got {branches!r}")
        self.branches = {str(name): child_of(f"{owner}.{argument}.{name}", step) for name, step in branches.items()}
        if weights is not None and (not isinstance(weights, Mapping) or set(weights) != set(self.branches)):
            raise ValueError(
                f"{owner}.weights: expected one number for each of {', '.join(self.branches)}, got {weights!r}"
            )
        ordered_weights = None if weights is None else [weights[name] for name in self.branches]
        self.weights = normalised_weights(f"{owner}.weights", ordered_weights, len(self.branches))
        super().__init__(self.branches.values())

    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """A mark with the name of the branch, then its steps."""
        chooser = seed
        if self.per_batch and context is not None and context.batch_seed is not None:
            chooser = context.batch_seed
        name = list(self.branches)[pick(chooser, self.weights)]
        steps = draw_child(self.branches[name], seed, size, context, self.noted, name)
        return [{"op": MARK, self.noted: name}, *steps]


@DEGRADATION_REGISTRY.register()
class Task(Level):
    """One of several named tasks, at random; the record contains its name as `label` and gets this label.

    Args:
        tasks: name -> `{type: ..., ...}` mapping.
        weights: name -> weight; divided by their sum. Default: equal weights.
    """

    noted: ClassVar[str] = "label"

    def __init__(self, tasks: dict[str, DegradationSpec], weights: dict[str, float] | None = None) -> None:
        self._set("Task", "tasks", tasks, weights)
        self.per_batch = False


@DEGRADATION_REGISTRY.register()
class Stage(Pipeline):
    """A step with a note of its part in a larger recipe: each recorded step gets `stage: name`.

    Args:
        name: name of the stage ("first").
        step: a `{type: ..., ...}` mapping, or a degradation already built.
    """

    def __init__(self, name: str, step: DegradationSpec) -> None:
        if not isinstance(name, str) or not name:
            raise ValueError(f"Stage.name: expected a name, got {name!r}")
        self.name = name
        self.step = child_of("Stage.step", step)
        super().__init__([self.step])

    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """The child's steps, each with `stage`; a stage within a stage keeps its own."""
        return [{"stage": self.name, **step} for step in draw_child(self.step, seed, size, context, "step")]


@DEGRADATION_REGISTRY.register()
class Replay(Pipeline):
    """The steps of a record, every time; sizes and fields are those of the record.

    Args:
        record: the result of `DegradationRecord.to_dict`.
        file: a JSON file with the record, instead.
    """

    def __init__(self, record: dict[str, Any] | None = None, file: Path | None = None) -> None:
        if (record is None) == (file is None):
            raise ValueError("Replay: needs either `record` or `file`")
        if file is not None:
            try:
                record = json.loads(Path(file).read_text())
            except (OSError, ValueError) as error:
                raise ValueError(f"Replay.file: cannot read '{file}' as JSON ({error})") from None
        replayed = DegradationRecord.from_dict(record or {})
        if replayed.steps is None:
            raise ValueError("Replay: the record's steps are unknown (a real pair); there is nothing to replay")
        unknown = [step["op"] for step in replayed.steps if step["op"] not in DEGRADATION_REGISTRY]
        if unknown:
            raise ValueError(f"Replay: no degradation named {', '.join(unknown)} is registered")
        self.replayed = replayed
        super().__init__([])

    def draw(self, seed: int, size: Size, context: DrawContext | None = None) -> list[Step]:
        """The recorded steps, and a mark with the record's label if it has one."""
        steps = [dict(step) for step in self.replayed.steps or ()]
        label = self.replayed.label
        return steps if label is None else [{"op": MARK, "label": label}, *steps]
