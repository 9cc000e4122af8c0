"""The evaluation loop: restore every image of a dataset, measure it, and write the pictures."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from uir.compat.foreign_model import ForeignModel
from uir.config.schema import ValOptions
from uir.core.distributed import gathered, is_main
from uir.core.images import write_image
from uir.core.progress import progress_bar
from uir.data.colors import channel_of
from uir.layers.resize import imresize
from uir.metrics.building import Metric, SetMetric, build_metric
from uir.metrics.observers import Watch
from uir.models.base_model import BaseModel

logger = logging.getLogger("uir")


@dataclass
class Evaluation:
    """The measurements of one dataset.

    Attributes:
        dataset: its name.
        images: the number of images.
        results: means over the images, by metric name.
        inputs: the same for the degraded images themselves, if they were measured.
        per_image: each image's file and values.
        nonfinite: the images that were restored to NaN or infinity; they are not measured and not written.
        channel: what the only channel of its images is, such as `grey, full range`; empty for colour.
        intervals: 95 % intervals of the results over the images, by metric name; only of a test.
        counts: the number of images that have a value, by metric name; only of a test.
    """

    dataset: str
    images: int = 0
    results: dict[str, float] = field(default_factory=dict)
    inputs: dict[str, float] = field(default_factory=dict)
    per_image: list[dict[str, Any]] = field(default_factory=list)
    nonfinite: list[str] = field(default_factory=list)
    channel: str = ""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parts: dict[str, list[Any]] = {}  # what the images add to metrics of the set that can be resampled


class Stopped(Exception):  # noqa: N818  # no error: somebody asked for it
    """An evaluation was asked to stop between two images."""


def build_metrics(val: ValOptions | None) -> dict[str, Metric | SetMetric]:
    """The metrics of `val.metrics`, by the names that are printed."""
    specs = val.metrics if val is not None else {}
    return {name: build_metric(component.spec(), f"val.metrics.{name}") for name, component in specs.items()}


def evaluate(
    model: BaseModel | ForeignModel,
    loader: DataLoader[Any],
    dataset: str,
    metrics: Mapping[str, Metric | SetMetric],
    *,
    iteration: int | str,
    image_file: Callable[[str], Path] | None = None,
    measure_input: bool = False,
    observe: Sequence[Watch | None] = (),
    controls: Mapping[str, Any] | None = None,
    tb_logger: Any = None,
    progress: bool = True,
    stop: Callable[[], bool] = bool,
) -> Evaluation:
    """Restore and measure a dataset.

    Args:
        model: the method; a model written like BasicSR's runs its own validation instead.
        loader: batches of one image.
        dataset: the dataset's name.
        metrics: the metrics to measure.
        iteration: for the method's own validation: the iteration, or the run's name in a test.
        image_file: gives the file of a restored image for an input's name; None writes no images.
        measure_input: measure the degraded image too; a smaller one is enlarged bicubically.
        controls: values of the predictor's controls (`val.controls`).
        observe: each one is called with every batch and its restored images.
        progress: show a progress bar.
        stop: asked before every image; the default never stops.

    Several processes share the images; each of them returns the whole result.

    Raises:
        Stopped: `stop` was true in one process; raised in all of them.
    """
    images, found = _Stoppable(loader, stop), Evaluation(dataset)
    try:
        if isinstance(model, ForeignModel):
            results = model.evaluate(images, iteration, tb_logger, image_file is not None)
            found = Evaluation(dataset, len(loader), results)
        else:
            _restore(model, images, found, metrics, image_file, measure_input, observe, controls, progress)
    except Stopped:
        images.stopped = True
    if any(gathered(images.stopped)):
        raise Stopped
    if not isinstance(model, ForeignModel):
        _summarize(found, metrics)
    return found


class _Stoppable:
    """A loader that asks before every batch whether to go on; a method's own validation reads it like the loader.

    Attributes:
        stopped: whether it stopped.
    """

    def __init__(self, loader: DataLoader[Any], stop: Callable[[], bool]) -> None:
        self.loader, self.stop, self.stopped = loader, stop, False

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            if self.stop():
                raise Stopped
            yield batch

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def _restore(
    model: BaseModel,
    loader: _Stoppable,
    found: Evaluation,
    metrics: Mapping[str, Metric | SetMetric],
    image_file: Callable[[str], Path] | None,
    measure_input: bool,
    observe: Sequence[Watch | None],
    controls: Mapping[str, Any] | None,
    progress: bool,
) -> None:
    """Restore and measure this process's images, into `found.per_image`."""
    dataset = found.dataset
    with progress_bar(visible=progress and is_main()) as bar:
        task = bar.add_task(f"Testing {dataset}", total=len(loader), note="")
        used: Counter[str] = Counter()
        for batch in loader:
            restored = model.predict(batch, controls).restored
            if restored.shape[-3] == 1:
                found.channel = channel_of(loader.dataset)
            bar.advance(task)
            bad = int((~restored.isfinite()).sum())
            if bad:
                found.per_image.append(_unmeasured(batch, bad))
                continue
            row = _measure(restored, batch, metrics, measure_input)
            row["metrics"] |= model.extra_measures(batch)
            found.per_image.append(row)
            for watch in observe:
                if watch is not None:
                    watch(batch, restored)
            if image_file is not None:
                stem = Path(batch["lq_path"][0]).stem
                used[stem] += 1  # several folders may have files of the same name
                stem = stem if used[stem] == 1 else f"{stem}_{used[stem]}"
                if restored.ndim == 4:
                    write_image(image_file(stem), restored[0])
                for frame, image in enumerate(restored[0] if restored.ndim == 5 else ()):
                    write_image(image_file(f"{stem}_{frame:03d}"), image)


def _summarize(found: Evaluation, metrics: Mapping[str, Metric | SetMetric]) -> None:
    """Join what the processes measured, and take the means."""
    shares = gathered(found.per_image)
    found.per_image = [rows[turn] for turn in range(max(map(len, shares))) for rows in shares if turn < len(rows)]
    found.images = len(found.per_image)
    for row in found.per_image:
        if "nonfinite" in row:
            found.nonfinite.append(row["lq_path"])
            logger.warning(
                "%s: %s: %d values of the restored image are NaN or infinity; it is in no mean and not written",
                found.dataset, row["lq_path"], row["nonfinite"],
            )  # fmt: skip
    parts = [row.pop("parts") for row in found.per_image]
    for name, metric in metrics.items():
        if isinstance(metric, SetMetric) and metric.is_resampled:
            found.parts[name] = [part["restored"][name] for part in parts if name in part["restored"]]
    found.results = _means([row["metrics"] for row in found.per_image]) | _of_set(metrics, parts, "restored")
    found.inputs = _means([row["input"] for row in found.per_image if row["input"]]) | _of_set(metrics, parts, "input")


def _unmeasured(batch: Mapping[str, Any], bad: int) -> dict[str, Any]:
    """The row of an image that was restored to `bad` values that are not finite."""
    nothing: dict[str, Any] = {"metrics": {}, "input": {}, "parts": {"restored": {}, "input": {}}}
    return {"lq_path": batch["lq_path"][0], "nonfinite": bad, **nothing}


def _measure(
    restored: Tensor, batch: Mapping[str, Any], metrics: Mapping[str, Metric | SetMetric], measure_input: bool
) -> dict[str, Any]:
    """The values of one image's metrics, and its part of the set's metrics; a clip is measured frame by frame."""
    gt, lq, regions = batch.get("gt"), batch["lq"], batch.get("regions")
    if restored.ndim == 5:
        restored, lq, gt = restored.flatten(0, 1), lq.flatten(0, 1), None if gt is None else gt.flatten(0, 1)
    images = {"restored": restored}
    wanted = restored if gt is None else gt  # a metric without reference measures the input too
    if measure_input and lq.shape[:2] == wanted.shape[:2]:
        images["input"] = lq if lq.shape == wanted.shape else _enlarged(lq, wanted)
    values: dict[str, dict[str, float]] = {"restored": {}, "input": {}}
    parts: dict[str, dict[str, Any]] = {"restored": {}, "input": {}}
    for kind, image in images.items():
        for name, metric in metrics.items():
            if gt is None and metric.needs_reference:
                continue
            if isinstance(metric, SetMetric):
                parts[kind][name] = metric.contribution(image, gt, regions)
            else:
                values[kind][name] = metric(image, gt, regions)
    return {"lq_path": batch["lq_path"][0], "metrics": values["restored"], "input": values["input"], "parts": parts}


def _enlarged(lq: Tensor, wanted: Tensor) -> Tensor:
    """Degraded images at the size of others, bicubically: the usual baseline of super-resolution."""
    return imresize(lq, size=(wanted.shape[-2], wanted.shape[-1])).clamp(0, 1)


def _of_set(
    metrics: Mapping[str, Metric | SetMetric], parts: Sequence[Mapping[str, Mapping[str, Any]]], kind: str
) -> dict[str, float]:
    """The metrics of the whole set, for its restored or its degraded images."""
    by_name = {}
    for name, metric in metrics.items():
        contributions = [part[kind][name] for part in parts if name in part[kind]]
        if isinstance(metric, SetMetric) and contributions:
            by_name[name] = metric.result(contributions)
    return by_name


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each metric over the images that have it."""
    columns = {
        name: [row[name] for row in rows if name in row] for name in dict.fromkeys(n for row in rows for n in row)
    }
    return {name: math.fsum(values) / len(values) for name, values in columns.items()}


def update_best(
    best: dict[str, Any], evaluation: Evaluation, metrics: Mapping[str, Metric | SetMetric], iteration: int
) -> None:
    """Store the best value of each metric and its iteration, in BasicSR's form; no value where images are missing."""
    if evaluation.nonfinite:
        return
    best_of_set = best.setdefault(evaluation.dataset, {})
    for name, value in evaluation.results.items():
        better = metrics[name].better if name in metrics else "higher"
        old = best_of_set.get(name)
        if old is None or (value >= old["val"] if better == "higher" else value <= old["val"]):
            best_of_set[name] = {"better": better, "val": value, "iter": iteration}
