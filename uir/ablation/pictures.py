"""A sheet of pictures: one photograph of each data set, degraded, restored by every cell, and clean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uir.ablation.trained import Trained
from uir.core.sheets import as_picture, write_sheet
from uir.data.building import evaluation_loaders
from uir.inference.predictor import Running, predict

SIDE = 192
"""Largest height and width in pixels of a picture of a clean photograph, its middle."""
_WIDTH, _LETTER = 160, 11  # pixels of a picture on the sheet, and of a letter of the title above it


@dataclass(frozen=True)
class Example:
    """The middle of the first photograph of a data set, float [H, W, 3] in [0, 1].

    Attributes:
        degraded, restored, clean: the three of them.
    """

    degraded: np.ndarray
    restored: np.ndarray
    clean: np.ndarray


def examples_of(trained: Trained) -> dict[str, Example]:
    """An example of each data set that has clean photographs, restored as in the measurement, by the set's name.

    Raises:
        ValueError, OSError: the data are not there any more.
    """
    examples = {}
    for name, loader in evaluation_loaders(trained.measured).items():
        batch = dict(next(iter(loader)))
        if "gt" not in batch:
            continue
        scale = trained.measured.options.scale
        batch |= {"lq": _middle(batch["lq"], SIDE // scale), "gt": _middle(batch["gt"], SIDE // scale * scale)}
        examples[name] = example_of(trained, batch)
    return examples


def example_of(trained: Trained, batch: Mapping[str, Any]) -> Example:
    """The first image of a batch with `lq` and `gt`, restored as in the measurement."""
    restored = predict(trained.predictor, batch, Running(torch.device("cpu")), trained.controls).restored
    size = batch["gt"].shape[-2:]
    return Example(*(as_picture(image[0], size) for image in (batch["lq"], restored, batch["gt"])))


def write_examples(path: Path, examples: Mapping[str, Mapping[str, Example]]) -> Path | None:
    """Write the sheet: a row for each data set, with a picture of each cell between the degraded and the clean one.

    Args:
        path: the file to write.
        examples: by cell and data set. A set that differs from cell to cell, or that a cell lacks, has no row.

    Returns:
        The file; None if no set is left.
    """
    first = next(iter(examples.values()), {})
    rows = []
    for name, example in first.items():
        others = [by_set.get(name) for by_set in examples.values()]
        same = [other for other in others if other is not None and np.array_equal(other.degraded, example.degraded)]
        if len(same) == len(examples):
            rows.append((name, [example.degraded, *(other.restored for other in same), example.clean]))
    if not rows:
        return None
    titles = ["degraded", *examples, "clean"]
    return write_sheet(path, rows, titles, max(_WIDTH, _LETTER * max(map(len, titles))))


def _middle(image: Tensor, side: int) -> Tensor:
    """The middle [B, C, h, w] of images, at most `side` pixels high and wide."""
    top, left = (max(length - side, 0) // 2 for length in image.shape[-2:])
    return image[..., top : top + side, left : left + side]
