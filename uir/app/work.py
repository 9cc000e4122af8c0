"""What the web page does with a photograph: that of `uir restore` and `uir diagnose`, and pictures for the screen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from uir.core.images import read_pages, to_rgb
from uir.inference.controls import Control
from uir.inference.diagnosis import Diagnosis
from uir.inference.image_files import restore_planned
from uir.inference.image_plan import counted, plan_files
from uir.inference.restorer import Restorer

SIDE = 1600
"""Longest side in pixels of the pictures on the screen; the file for download has all pixels."""
_ENDING = "_restored"


@dataclass(frozen=True)
class Restored:
    """A restored photograph.

    Attributes:
        file: with all pixels, in the depth of the photograph.
        before, after: pictures of one size for the screen, [h, w, 3], uint8.
        diagnosis: its degradation, if a classifier came with the network.
        text: what is to be said of it.
    """

    file: Path
    before: np.ndarray
    after: np.ndarray
    diagnosis: Diagnosis | None
    text: str


def restore_upload(
    restorer: Restorer, file: Path, folder: Path, controls: Mapping[str, Any], max_pixels: int | None = None
) -> Restored:
    """Restore a photograph into a folder.

    Args:
        restorer: the restorer.
        file: the photograph.
        folder: a folder of its own, for the result.
        controls: values of the method's controls.
        max_pixels: as for `check_size`.

    Raises:
        ValueError: the file is no image or too large, it cannot be restored, or a control does not fit.
    """
    started = time.perf_counter()
    plan = replace(plan_files([file], folder), variants={_ENDING: dict(controls)})
    outcome = restore_planned(restorer, plan, max_pixels=max_pixels, visible=False)
    for why in outcome.failed.values():
        raise ValueError(f"{file.name}: {why}")
    (result,) = outcome.written
    before, after = _first_page(file, max_pixels), _first_page(result)
    height, width, channels = after.shape
    bits = 8 * after.dtype.itemsize
    notes = [
        f"{width} × {height} pixels", counted(channels, "channel"), f"{bits} bits", f"{result.suffix[1:].upper()}",
        f"{time.perf_counter() - started:.1f} s", *outcome.notes.values(),
    ]  # fmt: skip
    size = _size_on_screen(height, width)
    diagnosis = outcome.diagnoses.get(str(file))
    return Restored(result, _on_screen(before, size), _on_screen(after, size), diagnosis, ", ".join(notes))


def look_at_upload(
    restorer: Restorer, file: Path, max_pixels: int | None = None
) -> tuple[np.ndarray, Diagnosis | None]:
    """A photograph for the screen, [h, w, 3], uint8, and its degradation, if a classifier came with the network.

    Raises:
        ValueError: the file is no image or too large.
    """
    page = _first_page(file, max_pixels)
    diagnosis = restorer.diagnoser(page) if restorer.diagnoser is not None else None
    return _on_screen(page, _size_on_screen(*page.shape[:2])), diagnosis


def chosen_controls(controls: tuple[Control, ...], values: tuple[Any, ...]) -> dict[str, Any]:
    """The controls that a user has set: those that are neither empty nor at their default."""
    pairs = zip(controls, values, strict=True)
    return {control.name: value for control, value in pairs if value not in (None, "", control.default)}


def _first_page(file: Path, max_pixels: int | None = None) -> np.ndarray:
    return next(iter(read_pages(file, max_pixels)))


def _size_on_screen(height: int, width: int) -> tuple[int, int]:
    share = min(SIDE / max(height, width), 1.0)
    return max(round(height * share), 1), max(round(width * share), 1)


def _on_screen(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture of this size; resized before it is converted, because floats of a large image take much memory."""
    method = cv2.INTER_AREA if image.shape[0] >= size[0] else cv2.INTER_CUBIC
    resized = cv2.resize(image, (size[1], size[0]), interpolation=method)
    colour = to_rgb(resized.reshape(*size, -1))
    return (colour * 255.0).round().astype(np.uint8)
