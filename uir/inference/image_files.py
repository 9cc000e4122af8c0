"""Restoring files and folders: every file is accounted for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from uir.core.environment import NO_MEMORY, problem_of_machine
from uir.core.images import check_writable, read_pages, write_pages
from uir.core.progress import progress_bar
from uir.inference.diagnosis import Diagnosis, diagnosed_text
from uir.inference.image_plan import Plan, counted, plan_files, with_ending
from uir.inference.restorer import Restorer

SHOWN = 20  # number of files of each group that the summary names


@dataclass
class Outcome:
    """What became of every file.

    Attributes:
        restored: the files written for each image.
        failed: why an image could not be read, restored or written.
        left_out: why a file in a folder was not tried.
        diagnoses: the degradation of each restored image, if a classifier came with the network.
    """

    restored: dict[str, list[Path]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    diagnoses: dict[str, Diagnosis] = field(default_factory=dict)

    @property
    def written(self) -> list[Path]:
        """All files written, in order."""
        return [file for files in self.restored.values() for file in files]

    def as_dict(self) -> dict[str, list[dict[str, Any]]]:
        """The same for JSON."""
        return {
            "restored": [
                {"file": name, "written": list(map(str, files)), **self._diagnosed(name)}
                for name, files in self.restored.items()
            ],
            "failed": [{"file": name, "why": why} for name, why in self.failed.items()],
            "left_out": [{"file": name, "why": why} for name, why in self.left_out.items()],
        }

    def _diagnosed(self, name: str) -> dict[str, Any]:
        return {"diagnosis": self.diagnoses[name].as_dict()} if name in self.diagnoses else {}

    def summary(self, output: Path) -> str:
        """The same as text, with a line for each file that was not restored."""
        files = f" as {counted(len(self.written), 'file')}" if len(self.written) != len(self.restored) else ""
        lines = ["no image was restored"]
        if self.restored:
            lines = [f"{counted(len(self.restored), 'image')} restored{files}, written to {output}"]
        if self.diagnoses:
            lines.append(f"degradation: {diagnosed_text(self.diagnoses)}")
        for group, noun, verb in ((self.failed, "image", "failed"), (self.left_out, "file", "left out")):
            if group:
                lines.append(f"{counted(len(group), noun)} {verb}:")
                lines += [f"  {name}: {why}" for name, why in list(group.items())[:SHOWN]]
            if len(group) > SHOWN:
                lines.append(f"  and {len(group) - SHOWN} more; --json names all")
        return "\n".join(lines)


def restore_files(
    restorer: Restorer,
    inputs: Iterable[str | Path] | str | Path,
    output: str | Path,
    controls: Mapping[str, Any] | None = None,
    sweep: str | None = None,
    overwrite: bool = False,
    max_pixels: int | None = None,
) -> Outcome:
    """Restore images and write them as PNG (TIFF stays TIFF, with all its pages), with their own depth and channels.

    Args:
        inputs: an image or a folder with images, or several of them; the output has the same names below a folder.
        output: a folder, or the file to write if there is one image.
        controls: values of the method's controls.
        sweep: several values of one control, `name=from:to:count` or `name=a,b,c`; each value gives its own file,
            `<image>_<name>=<value>.png`.
        overwrite: replace files that exist.
        max_pixels: of one image, as for `check_size`.

    Returns:
        What became of every file; one that fails does not stop the others.

    Raises:
        ValueError: as for `plan_files`, or a control does not exist or fit; nothing is written then.
    """
    named = [inputs] if isinstance(inputs, str | Path) else inputs
    plan = plan_files([Path(item) for item in named], Path(output), sweep, overwrite)
    return restore_planned(restorer, plan, controls, max_pixels)


def restore_planned(
    restorer: Restorer, plan: Plan, controls: Mapping[str, Any] | None = None, max_pixels: int | None = None
) -> Outcome:
    """Do what was planned, as `restore_files` does."""
    variants = {ending: {**(controls or {}), **variant} for ending, variant in plan.variants.items()}
    for variant in variants.values():
        restorer.predictor.read(variant)  # before anything is written
    outcome = Outcome(left_out=dict(plan.left_out))
    with progress_bar() as progress:
        task = progress.add_task("Restoring", total=len(plan.jobs), note="")
        for source, target in plan.jobs:
            try:
                pages = list(read_pages(source, max_pixels))
                for file in _restore(restorer, source, target, pages, variants):
                    outcome.restored.setdefault(source, []).append(file)
                if restorer.diagnoser is not None:
                    outcome.diagnoses[source] = restorer.diagnoser(pages[0])
            except (ValueError, OSError, MemoryError, RuntimeError) as error:  # torch's own errors are RuntimeErrors
                outcome.failed[source] = _reason(error, source)
            progress.advance(task)
    return outcome


def _restore(
    restorer: Restorer,
    source: str,
    target: str,
    pages: Sequence[np.ndarray],
    variants: Mapping[str, Mapping[str, Any]],
) -> Iterable[Path]:
    """Restore one file; each written file is given as soon as it is there."""
    for page in pages:
        channels = page.shape[2]
        check_writable(Path(target), channels, min(16, 8 * page.dtype.itemsize), len(pages))
    stem = os.path.splitext(os.path.basename(source))[0]
    names = [stem, *(f"{stem}_{index}" for index in range(1, len(pages)))]
    for ending, controls in variants.items():
        restored = [restorer(page, name=name, **controls) for page, name in zip(pages, names, strict=True)]
        file = Path(with_ending(target, ending))
        write_pages(file, restored, bits=16)  # for floats
        yield file


def _reason(error: Exception, source: str) -> str:
    """One line that says why, without the name that stands before it."""
    machine = problem_of_machine(error)
    if machine is not None and machine.startswith(NO_MEMORY):
        return f"{machine}; --tile 512 restores in tiles, which need less"
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    first = (text.strip() or type(error).__name__).splitlines()[0]
    return first.removeprefix(f"{source}: ").removeprefix("image: ")
