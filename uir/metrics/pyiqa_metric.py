"""Metrics of the package pyiqa, where the user has it: `type: pyiqa:musiq`.

pyiqa is under the PolyForm Noncommercial License; uir neither contains nor installs it.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import torch
from torch import Tensor

from uir.metrics.comparison import as_rgb
from uir.metrics.libraries import library
from uir.registry import METRIC_REGISTRY, nearest_names

logger = logging.getLogger("uir")


class PyIQA:
    """A metric of pyiqa, by its name there; the mean over a batch. Images are rounded as if they were saved.

    Args:
        name: the name in pyiqa.
        options: further arguments of `pyiqa.create_metric`.

    Attributes:
        better: `higher` or `lower`, as pyiqa says.
        needs_reference: whether pyiqa compares with a ground truth.

    Raises:
        ValueError: pyiqa is not installed, has no such metric, or the metric measures folders.
    """

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        package = library("pyiqa", f"pyiqa:{name}", "pyiqa, under a licence for noncommercial use")
        known = list(package.list_models())
        if name not in known:
            near = ", ".join(nearest_names(name, known))
            raise ValueError(f"pyiqa has no metric '{name}'{f'; nearest: {near}' if near else ''}")
        if "fid" in name:
            raise ValueError(f"pyiqa:{name} measures folders of files, not images; uir's own FID measures a dataset")
        logger.warning("pyiqa:%s: pyiqa reads its weights itself, and downloads those that it does not find", name)
        self.name, self.options = name, options
        self._metric = package.create_metric(name, as_loss=False, device=torch.device("cpu"), **options)
        self.better = "lower" if self._metric.lower_better else "higher"
        self.needs_reference = self._metric.metric_mode == "FR"

    def describe(self) -> str:
        """The metric and its options, for the heading of a table."""
        options = "".join(f", {key} {value}" for key, value in self.options.items())
        return f"pyiqa:{self.name} (RGB, uint8{options})"

    @torch.no_grad()
    def __call__(self, restored: Tensor, gt: Tensor | None = None) -> float:
        given = [image if image.ndim == 4 else image[None] for image in (restored, gt) if image is not None]
        images = [as_rgb((image.float().clamp(0, 1) * 255).round()) for image in given]
        self._metric.to(images[0].device)
        self._metric.device = images[0].device
        return float(torch.as_tensor(self._metric(*images)).double().mean())


@functools.cache
def _named(name: str) -> type[PyIQA]:
    """The class of one of pyiqa's metrics, whose arguments are pyiqa's."""

    class Named(PyIQA):
        def __init__(self, **options: Any) -> None:
            super().__init__(name, options)

    Named.__name__ = f"pyiqa:{name}"
    Named.__module__ = "pyiqa"
    return Named


METRIC_REGISTRY.add_origin("pyiqa", _named)
