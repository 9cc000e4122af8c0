"""Validation observers: they watch a validation and produce pictures, files or further numbers.

An observer is a class in the table `OBSERVERS`. The option file names it under `val.observers`, with its arguments.
uir's own observers have their own keys (`val.sheet`, `val.radar`, `val.probes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from uir.config.options import OptionFile
from uir.registry import OBSERVERS
from uir.registry.components import build

Watch = Callable[[Mapping[str, Any], Tensor], None]
"""Called with a batch of one image and its restored image, [1, 3, H, W] on the CPU."""


class Measured(Protocol):
    """The measurements on a dataset: the metrics of the restored and of the degraded images, by name."""

    dataset: str
    results: dict[str, float]
    inputs: dict[str, float]


class ValidationObserver:
    """Sees every validation of a training, and every test. Derive a class from it and write the methods that you need.

    All processes call each method. They share the images, so an observer sees only those of its own process.
    """

    @classmethod
    def asked_for(cls, loaded: OptionFile) -> ValidationObserver | None:
        """The observer, if an option file has the observer's own keys; else None. Mistakes raise ValueError."""
        return None

    def watch(self, dataset: str, iteration: int | str) -> Watch | None:
        """The function that receives a dataset's images when they are restored; None if they are not needed.

        Args:
            dataset: name of the dataset.
            iteration: iteration of the validation; in a test, the end of its file names.
        """
        return None

    def measure(self, model: Any, iteration: int, folder: Path) -> dict[str, dict[str, float]]:
        """Numbers about the method in training, by their name in the log; called after the last image.

        Args:
            model: the training method.
            iteration: the current iteration.
            folder: folder for pictures.
        """
        return {}

    def finish(
        self, folder: Path, iteration: int | str, found: Sequence[Measured], best: Mapping[str, Any] | None = None
    ) -> None:
        """Write the observer's files.

        Args:
            folder: the folder to write to.
            iteration: as in `watch`.
            found: the measurements, dataset by dataset.
            best: the best value of each metric so far (`val`), by dataset and metric; None in a test.
        """


def observers_of(loaded: OptionFile) -> list[ValidationObserver]:
    """The observers of an option file.

    Raises:
        ValueError: the file has a mistake in an observer's keys.
        ImportError: a package that one of them needs is not installed.
    """
    val = loaded.options.val
    if val is None:
        return []
    own = (cls.asked_for(loaded) for _, cls in OBSERVERS)
    named_observers = []
    for name, component in val.observers.items():
        try:
            named_observers.append(build(OBSERVERS, component.spec()))
        except ValueError as error:
            raise ValueError(f"val.observers.{name}: {error}") from error
    return [observer for observer in own if observer is not None] + named_observers
