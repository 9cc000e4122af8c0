"""Several datasets as one, each with the name of its task, mixed by a chosen rule."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from uir.core.seeds import derive_seed
from uir.data.seeded import draw_sample
from uir.degradations.record import DegradationRecord
from uir.registry import DATASET_REGISTRY, UnknownNameError
from uir.registry.components import DatasetSpec, build

SAMPLINGS = ("size", "uniform", "temperature", "stratified")


@DATASET_REGISTRY.register()
class MultiTaskDataset(Dataset[dict[str, Any]]):
    """Named datasets, one after the other; an epoch mixes them by `sampling`.

    A sample is the task's own. Its record gets the task's name as label, unless the task's dataset has its own `label`.

    Args:
        tasks: the dataset of each task by name, `{haze: {type: DegradedImageDataset, ...}, ...}`.
        sampling: how often a task is sampled. With n images in the task: `size` in proportion to n, `uniform` the same
            for all tasks, `temperature` in proportion to n^(1/temperature). `stratified`: in rounds, each with one
            sample of every task in a new random order. If a batch (of all processes together) has as many samples as
            there are tasks, it contains every task once, as in AirNet.
        temperature: 1 is `size`, a large value comes close to `uniform`.
        ratios: factor on n for each task, by the task's name; default 1. In other toolboxes a `dataset_enlarge_ratio`
            for each task does this. With `uniform` it is a factor on how often the task is sampled; with `stratified`
            there can be none.
        gt_size, scale, phase, use_hflip, use_rot, io_backend: passed to each task that has the argument and does not
            set it itself.
        name: the set's name in tables and logs.

    Raises:
        ValueError: there is no task, `sampling` is unknown, a ratio has no task, is not above 0 or cannot be combined
            with `sampling`, or a task cannot be built (the message names it).
    """

    def __init__(
        self,
        tasks: dict[str, DatasetSpec],
        sampling: str = "size",
        temperature: float = 2.0,
        ratios: dict[str, float] | None = None,
        gt_size: int | None = None,
        scale: int | None = None,
        phase: str = "train",
        use_hflip: bool | None = None,
        use_rot: bool | None = None,
        io_backend: dict[str, Any] | None = None,
        name: str = "",
    ) -> None:
        if sampling not in SAMPLINGS:
            raise ValueError(f"sampling: got '{sampling}'; expected one of {', '.join(SAMPLINGS)}")
        if not temperature > 0:
            raise ValueError(f"temperature: got {temperature}; expected a number above 0")
        if not isinstance(tasks, Mapping) or not tasks:
            raise ValueError(f"tasks: got {tasks!r}; expected at least one `name: {{type: ...}}`")
        for task, ratio in (ratios or {}).items():
            if task not in tasks or not ratio > 0:
                raise ValueError(f"ratios.{task}: got {ratio}; expected a number above 0 for one of {', '.join(tasks)}")
        if ratios and sampling == "stratified":
            raise ValueError("ratios: sampling 'stratified' takes every task equally often; remove one of the two")
        self.sampling = sampling
        self.temperature = temperature
        self.name = name
        self.datasets = build_parts(
            "tasks", tasks, phase=phase, gt_size=gt_size, scale=scale, use_hflip=use_hflip, use_rot=use_rot,
            io_backend=io_backend,
        )  # fmt: skip
        self._tasks = list(self.datasets)
        self._sizes = [len(dataset) for dataset in self.datasets.values()]
        self._ends = list(accumulate(self._sizes))
        self._ratios = [(ratios or {}).get(task, 1.0) for task in self._tasks]
        self.labels = tuple(dict.fromkeys(label for task in self._tasks for label in self._labels_of(task)))
        given_by_task = [set(getattr(dataset, "gives", ())) for dataset in self.datasets.values()]
        self.gives = tuple(sorted(set.intersection(*given_by_task)))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.sample(index, derive_seed(0, index))

    def sample(self, index: int, seed: int) -> dict[str, Any]:
        """The sample `index`, counted through all tasks in order."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside a dataset of {len(self)}")
        index %= len(self)
        position = bisect.bisect_right(self._ends, index)
        task = self._tasks[position]
        item = dict(draw_sample(self.datasets[task], index - self._ends[position] + self._sizes[position], seed))
        record = item.get("degradation") or DegradationRecord(steps=None)
        item["degradation"] = record if record.label is not None else record.with_label(task)
        return item

    def shares(self) -> dict[str, float]:
        """The fraction of an epoch for each task; they sum to 1."""
        exponent = 1.0 / self.temperature if self.sampling == "temperature" else 1.0
        sizes = [1] * len(self._sizes) if self.sampling in ("uniform", "stratified") else self._sizes
        weights = [(size * ratio) ** exponent for size, ratio in zip(sizes, self._ratios, strict=True)]
        return {task: weight / sum(weights) for task, weight in zip(self._tasks, weights, strict=True)}

    def epoch_order(self, generator: torch.Generator, length: int) -> Tensor:
        """The indices of one epoch, int64 [length].

        Each task gets its fraction of the positions, rounded up or down at random, so that the fractions are exact on
        average; with `stratified` every round of positions has each task once. No image of a task is repeated before
        all images of that task have been used.
        """
        task_of_place = (self._in_rounds if self.sampling == "stratified" else self._by_share)(generator, length)
        order = torch.empty(length, dtype=torch.long)
        for position, (size, end) in enumerate(zip(self._sizes, self._ends, strict=True)):
            places = task_of_place == position
            count = int(places.sum())
            rounds = [torch.randperm(size, generator=generator) for _ in range(-(-count // size))]
            if rounds:
                order[places] = torch.cat(rounds)[:count] + (end - size)
        return order

    def _by_share(self, generator: torch.Generator, length: int) -> Tensor:
        """The task of each position [length]: its share of them, in a random order."""
        bounds = torch.tensor([0.0, *accumulate(self.shares().values())], dtype=torch.float64) * length
        start = torch.rand(1, generator=generator, dtype=torch.float64)
        # rounded, so that a bound that should be a whole number does not fall to the wrong side by its last bit
        places = (bounds.mul(1e6).round().div(1e6) + start).floor().long()
        places[-1] = length
        tasks = torch.repeat_interleave(torch.arange(len(self._sizes)), places.diff())
        return tasks[torch.randperm(length, generator=generator)]

    def _in_rounds(self, generator: torch.Generator, length: int) -> Tensor:
        """The task of each position [length]: all tasks in a random order, again and again."""
        tasks = len(self._sizes)
        return torch.rand(-(-length // tasks), tasks, generator=generator).argsort(1).flatten()[:length]

    def _labels_of(self, task: str) -> tuple[str, ...]:
        return tuple(getattr(self.datasets[task], "labels", ())) or (task,)


def build_parts(key: str, specs: Mapping[str, DatasetSpec], **shared: Any) -> dict[str, Any]:
    """The datasets of a key such as `tasks`, each with its name as label.

    Args:
        key: as in the file, for messages.
        specs: the datasets by name.
        shared: arguments of each that has them and does not set them itself; None is not passed on.

    Raises:
        ValueError: one cannot be built, or is empty; the message names it.
    """
    given = {name: value for name, value in shared.items() if value is not None}
    return {name: _build_part(f"{key}.{name}", name, spec, given) for name, spec in specs.items()}


def _build_part(where: str, name: str, spec: Mapping[str, Any], shared: Mapping[str, Any]) -> Any:
    if not isinstance(spec, Mapping):
        raise ValueError(f"{where}: got {spec!r}; expected a mapping with `type`")
    try:
        dataset = build("datasets", spec, context={**shared, "label": name, "name": name})
    except UnknownNameError as error:
        raise UnknownNameError(f"{where}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if getattr(dataset, "on_device", False):
        raise ValueError(
            f"{where}: degrade_on 'device' needs a training set for it alone, with batches of one task; write "
            "`worker`, or make one DegradedImageDataset whose degradation is a `Task`"
        )
    if len(dataset) == 0:
        raise ValueError(f"{where}: the dataset is empty")
    return dataset
