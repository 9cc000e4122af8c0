"""The observers of `val.sheet` and `val.radar`, and of `val.probes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uir.analysis.validation_pictures import ValidationPictures
from uir.analysis.validation_probes import ValidationProbes
from uir.config.options import OptionFile
from uir.metrics.observers import Measured, ValidationObserver, Watch
from uir.registry import OBSERVERS


@OBSERVERS.register()
class PictureObserver(ValidationObserver):
    """Draws sheets of restored images and radar charts."""

    def __init__(self, pictures: ValidationPictures) -> None:
        self.pictures = pictures

    @classmethod
    def asked_for(cls, loaded: OptionFile) -> PictureObserver | None:
        """The observer, if the file has `val.sheet` or `val.radar`."""
        val = loaded.options.val
        if val is None or (val.sheet is None and val.radar is None):
            return None
        return cls(ValidationPictures(val))

    def watch(self, dataset: str, iteration: int | str) -> Watch | None:
        """Watch the first images, for the sheet."""
        return self.pictures.watch(dataset, iteration)

    def finish(
        self, folder: Path, iteration: int | str, found: Sequence[Measured], best: Mapping[str, Any] | None = None
    ) -> None:
        """Write the pictures that are due."""
        self.pictures.write(folder, iteration, found, best)


@OBSERVERS.register()
class ProbeObserver(ValidationObserver):
    """Measures how well the features of the network in training show the degradation."""

    def __init__(self, probes: ValidationProbes) -> None:
        self.probes = probes

    @classmethod
    def asked_for(cls, loaded: OptionFile) -> ProbeObserver | None:
        """The observer, if a training file has `val.probes`; a test has no network in training."""
        val = loaded.options.val
        return None if val is None or val.probes is None or not loaded.is_train else cls(ValidationProbes(loaded))

    def measure(self, model: Any, iteration: int, folder: Path) -> dict[str, dict[str, float]]:
        """Run the probes that are due."""
        return self.probes.run(model, iteration, folder)
