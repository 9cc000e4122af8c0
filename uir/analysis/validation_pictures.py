"""Pictures during validation: a sheet of restored images, and a radar chart over the validation sets."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from uir.analysis.charts import radar_picture
from uir.analysis.extras import matplotlib_part
from uir.config.schema import ValOptions
from uir.core.distributed import gathered, is_main, rank_and_world
from uir.core.sheets import as_picture, of_width, write_sheet
from uir.metrics.observers import Measured, Watch

logger = logging.getLogger("uir")

_WIDTH = 320
_AXES = 3


@dataclass(frozen=True)
class _Row:
    """A row of the sheet: its position (dataset, image), and uint8 pictures in the size of the sheet."""

    place: tuple[int, int]
    label: str
    pictures: tuple[np.ndarray, ...]


class ValidationPictures:
    """Draws the pictures of `val.sheet` and `val.radar` at each validation.

    Args:
        val: the section; with None nothing is drawn.

    Raises:
        ImportError: matplotlib, which the radar chart needs, is not installed.
    """

    def __init__(self, val: ValOptions | None) -> None:
        self.sheet, self.radar = (val.sheet, val.radar) if val else (None, None)
        self._rows: list[_Row] = []
        self._sets = 0
        if self.radar is not None:
            try:
                matplotlib_part("figure")
            except ImportError as error:
                raise ImportError(f"val.radar: {error}") from None

    def watch(self, dataset: str, iteration: int | str) -> Watch | None:
        """The function that receives a dataset's restored images; None if no sheet is due.

        Args:
            dataset: name of the dataset.
            iteration: iteration of the validation; in a test, its name.

        Several processes share the images in turn. Each keeps those of the first images that it restores itself.
        """
        if self.sheet is None or not self.sheet.is_due(iteration):
            return None
        turn, image_count = self._sets, self.sheet.images
        index, step = rank_and_world()
        self._sets += 1

        def observe(batch: Mapping[str, Any], restored: Tensor) -> None:
            nonlocal index
            if index < image_count:
                label = f"{dataset} {Path(batch['lq_path'][0]).stem}"
                images = [batch["lq"][0], restored[0], *([batch["gt"][0]] if batch.get("gt") is not None else [])]
                pictures = (of_width(as_picture(image, restored.shape[-2:]), _WIDTH) for image in images)
                self._rows.append(_Row((turn, index), label, tuple(pictures)))
            index += step

        return observe

    def write(
        self, folder: Path, iteration: int | str, found: Sequence[Measured], best: Mapping[str, Any] | None = None
    ) -> None:
        """Write `sheet_<iteration>.png` and `radar_<iteration>.png` if they are due. All processes call this.

        Args:
            folder: the folder to write to.
            iteration: as in `watch`.
            found: the measurements, dataset by dataset.
            best: the best value of each metric so far (`val`), by dataset and metric.
        """
        if self.sheet is not None and self.sheet.is_due(iteration):
            rows = sorted((row for rows in gathered(self._rows) for row in rows), key=lambda row: row.place)
            self._rows, self._sets = [], 0
            if rows and is_main():
                _write_sheet(folder / f"sheet_{iteration}.png", rows)
        if self.radar is not None and self.radar.is_due(iteration) and is_main():
            now = f"iteration {iteration}" if isinstance(iteration, int) else iteration
            _write_radar(folder / f"radar_{iteration}.png", self.radar.metric, now, found, best or {})


def _write_sheet(path: Path, rows: Sequence[_Row]) -> None:
    """Write a sheet. In rows of a dataset without clean images, that place is empty."""
    titles = ["degraded", "restored", "clean"][: max(len(row.pictures) for row in rows)]
    shown = []
    for row in rows:
        pictures = [picture / np.float32(255) for picture in row.pictures]
        shown.append((row.label, pictures + [np.ones_like(pictures[0])] * (len(titles) - len(pictures))))
    write_sheet(path, shown, titles, _WIDTH)


def _write_radar(path: Path, metric: str, now: str, measurements: Sequence[Measured], best: Mapping[str, Any]) -> None:
    """Draw one line for the input, if it was measured on every dataset, one for the best so far and one for now."""
    measured = [item for item in measurements if metric in item.results]
    if len(measured) < _AXES:
        names = ", ".join(item.dataset for item in measured) or "none"
        logger.warning(
            "val.radar: no chart, because %s was measured on fewer than %d datasets: %s", metric, _AXES, names
        )
        return
    runs: dict[str, list[float]] = {}
    if all(metric in item.inputs for item in measured):
        runs["input"] = [item.inputs[metric] for item in measured]
    restored = [item.results[metric] for item in measured]
    so_far = [best.get(item.dataset, {}).get(metric, {}).get("val", item.results[metric]) for item in measured]
    if so_far != restored:
        runs["best so far"] = so_far
    runs[now] = restored
    radar_picture(path, runs, [item.dataset for item in measured], metric)
