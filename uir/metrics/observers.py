"""Validation observers: what watches a validation and leaves pictures, files or further numbers behind.

An observer is a class in the table `OBSERVERS`. The option file names it under `val.observers`, with its arguments;
those that uir brings along are asked for by keys of their own (`val.sheet`, `val.radar`, `val.probes`).
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
"""Called with a batch of one image and what was restored of it, [1, 3, H, W] on the CPU."""


class Measured(Protocol):
    """What was measured on a dataset: the metrics of the restored and of the degraded images, by name."""

    dataset: str
    results: dict[str, float]
    inputs: dict[str, float]


class ValidationObserver:
    """Sees every validation of a training, and every test. Derive from it and write the methods that you need.

    All processes call each method; they share the images, so that an observer sees those of its own process.
    """

    @classmethod
    def asked_for(cls, loaded: OptionFile) -> ValidationObserver | None:
        """The observer that an option file asks for by keys of its own; None where it does not. Mistakes raise."""
        return None

    def watch(self, dataset: str, iteration: int | str) -> Watch | None:
        """What is to see a dataset's images as they are restored; None for no interest.

        Args:
            dataset: its name.
            iteration: of the validation; in a test, the ending of its files' names.
        """
        return None

    def measure(self, model: Any, iteration: int, folder: Path) -> dict[str, dict[str, float]]:
        """Numbers of the method in training, by a name to log them under; called once the images are through.

        Args:
            model: the training method.
            iteration: at which it stands.
            folder: where pictures go.
        """
        return {}

    def finish(
        self, folder: Path, iteration: int | str, found: Sequence[Measured], best: Mapping[str, Any] | None = None
    ) -> None:
        """Write what there is to write.

        Args:
            folder: where to.
            iteration: as `watch` was told.
            found: what was measured, dataset by dataset.
            best: the best value of each metric so far (`val`), by dataset and metric; None in a test.
        """


def observers_of(loaded: OptionFile) -> list[ValidationObserver]:
    """The observers that an option file asks for.

    Raises:
        ValueError: the file does not allow one of them.
        ImportError: a package that one of them needs is not installed.
    """
    val = loaded.options.val
    if val is None:
        return []
    own = (cls.asked_for(loaded) for _, cls in OBSERVERS)
    named = []
    for name, component in val.observers.items():
        try:
            named.append(build(OBSERVERS, component.spec()))
        except ValueError as error:
            raise ValueError(f"val.observers.{name}: {error}") from error
    return [observer for observer in own if observer is not None] + named
