"""Restoring files and folders: every file is accounted for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from uir.core.distributed import gathered, rank_and_world
from uir.core.environment import NO_MEMORY, problem_of_machine
from uir.core.image_heads import kind_of
from uir.core.image_metadata import read_metadata, with_metadata
from uir.core.images import (
    PAGES_EXTENSIONS,
    check_writable,
    decode_pages,
    encode_pages,
    read_content,
    to_float,
    write_pages,
)
from uir.core.progress import progress_bar
from uir.core.sheets import of_width, write_sheet
from uir.core.tiff_strips import StripedPage, striped_page, write_strips
from uir.inference.diagnosis import Diagnosis, diagnosed_text
from uir.inference.image_plan import Plan, counted, plan_files, with_ending
from uir.inference.restorer import Restorer

_GRID_WIDTH = 320  # pixels of a picture in the grid of a sweep
SHOWN = 20  # number of files of each group that the summary names


@dataclass
class Outcome:
    """What became of every file.

    Attributes:
        restored: the files written for each image.
        failed: why an image could not be read, restored or written.
        left_out: why a file in a folder was not tried.
        diagnoses: the degradation of each restored image, if a classifier came with the network.
        done: images that an earlier run has restored.
        notes: what else is to be said of a restored image.
    """

    restored: dict[str, list[Path]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    diagnoses: dict[str, Diagnosis] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def written(self) -> list[Path]:
        """All files written, in order."""
        return [file for files in self.restored.values() for file in files]

    def add(self, other: Outcome) -> None:
        """Add the files of another part of the same plan."""
        for mine, theirs in zip(self._tables(), other._tables(), strict=True):
            mine.update(theirs)

    def _tables(self) -> tuple[dict[str, Any], ...]:
        return self.restored, self.failed, self.diagnoses, self.notes

    def as_dict(self) -> dict[str, list[Any]]:
        """The same for JSON."""
        return {
            **({"done": self.done} if self.done else {}),
            "restored": [
                {"file": name, "written": list(map(str, files)), **self._diagnosed(name)}
                for name, files in self.restored.items()
            ],
            "failed": [{"file": name, "why": why} for name, why in self.failed.items()],
            "left_out": [{"file": name, "why": why} for name, why in self.left_out.items()],
        }

    def _diagnosed(self, name: str) -> dict[str, Any]:
        diagnosis = {"diagnosis": self.diagnoses[name].as_dict()} if name in self.diagnoses else {}
        return diagnosis | ({"note": self.notes[name]} if name in self.notes else {})

    def summary(self, output: Path) -> str:
        """The same as text, with a line for each file that was not restored."""
        files = f" as {counted(len(self.written), 'file')}" if len(self.written) != len(self.restored) else ""
        lines = ["no image was restored"]
        if self.done:
            lines = [f"all {counted(len(self.done), 'image')} were restored before; nothing was left to do"]
        if self.restored:
            lines = [f"{counted(len(self.restored), 'image')} restored{files}, written to {output}"]
            lines += [f"{counted(len(self.done), 'image')} restored before, left as they are"] if self.done else []
        if self.diagnoses:
            lines.append(f"degradation: {diagnosed_text(self.diagnoses)}")
        lines += [f"  {name}: {note}" for name, note in list(self.notes.items())[:SHOWN]]
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
    resume: bool = False,
) -> Outcome:
    """Restore images and write them as PNG (TIFF stays TIFF, with all its pages), with their own depth and channels.

    Colour profile, EXIF and resolution of a file are kept.

    Args:
        inputs: an image, a folder with images or a pattern, or several of them; the output has the same names below a
            folder.
        output: a folder, or the file to write if there is one image.
        controls: values of the method's controls.
        sweep: several values of one control, `name=from:to:count` or `name=a,b,c`; each value gives its own file,
            `<image>_<name>=<value>.png`, and `<image>_<name>.png` shows them side by side.
        overwrite: replace files that exist.
        max_pixels: of one image, as for `check_size`.
        resume: leave out the images whose results are there.

    Returns:
        What became of every file; one that fails does not stop the others.

    Raises:
        ValueError: as for `plan_files`, or a control does not exist or fit; nothing is written then.
    """
    named = [inputs] if isinstance(inputs, str | Path) else inputs
    plan = plan_files([Path(item) for item in named], Path(output), sweep, overwrite, resume)
    return restore_planned(restorer, plan, controls, max_pixels)


def restore_planned(
    restorer: Restorer,
    plan: Plan,
    controls: Mapping[str, Any] | None = None,
    max_pixels: int | None = None,
    visible: bool = True,
) -> Outcome:
    """Do what was planned, as `restore_files` does.

    Of several processes each does its share of the images, and all get the outcome of all.

    Args:
        restorer, plan, controls, max_pixels: as for `restore_files`.
        visible: whether a terminal shows a progress bar.
    """
    variants = {ending: {**(controls or {}), **variant} for ending, variant in plan.variants.items()}
    for variant in variants.values():
        restorer.predictor.read(variant)  # before anything is written
    rank, world = rank_and_world()
    jobs, share = plan.jobs[rank::world], Outcome()
    with progress_bar(unit="MP", visible=visible and rank == 0) as progress:
        task = progress.add_task("Restoring megapixels", total=None, note="")
        pixels = 0
        for count, (source, target) in enumerate(jobs, 1):
            try:
                pixels += _restore(restorer, source, target, variants, max_pixels, share, plan.grid)
            except (ValueError, OSError, MemoryError, RuntimeError) as error:  # torch's own errors are RuntimeErrors
                share.failed[source] = _reason(error, source)
            done, note = pixels / 1e6, f"image {count} of {len(jobs)}"
            progress.update(task, completed=done, total=max(done / count * len(jobs), 1e-9), note=note)
    outcome = Outcome(left_out=dict(plan.left_out), done=list(plan.done))
    for part in gathered(share):
        outcome.add(part)
    return outcome


def _restore(
    restorer: Restorer,
    source: str,
    target: str,
    variants: Mapping[str, Mapping[str, Any]],
    max_pixels: int | None,
    outcome: Outcome,
    grid: str = "",
) -> int:
    """Restore one file, and note what became of it; a written file counts as soon as it is there.

    The results of a sweep are also shown side by side, in the file with the ending `grid`.

    Returns:
        The number of its pixels.
    """
    if Path(target).suffix.lower() in PAGES_EXTENSIONS and not grid:
        with striped_page(source, max_pixels) as striped:
            if striped is not None:
                return _restore_by_strips(restorer, striped, source, target, variants, outcome)
    content = read_content(source)
    pages, metadata = list(decode_pages(content, source, max_pixels)), read_metadata(content)
    del content  # the file of a large image is large
    for page in pages:
        check_writable(Path(target), page.shape[2], min(16, 8 * page.dtype.itemsize), len(pages))
    stem = os.path.splitext(os.path.basename(source))[0]
    names = [stem, *(f"{stem}_{index}" for index in range(1, len(pages)))]
    notes = ["CMYK, converted to RGB"] if metadata.is_cmyk else []
    shown = [_small(pages[0])] if grid else []
    for ending, controls in variants.items():
        restored = [restorer(page, name=name, **controls) for page, name in zip(pages, names, strict=True)]
        file = Path(with_ending(target, ending))
        left_out = write_pages(file, restored, bits=16, metadata=metadata)  # 16 bits for floats
        outcome.restored.setdefault(source, []).append(file)
        shown += [_small(restored[0])] if grid else []
    if grid:
        file = Path(with_ending(target, grid))
        write_sheet(file, [(stem, shown)], ["input", *(ending.removeprefix("_") for ending in variants)], _GRID_WIDTH)
        outcome.restored[source].append(file)
    notes += [f"{', '.join(left_out)} left out, which {file.suffix} does not hold"] if left_out else []
    if notes:
        outcome.notes[source] = "; ".join(notes)
    if restorer.diagnoser is not None:
        outcome.diagnoses[source] = restorer.diagnoser(pages[0])
    return sum(page.shape[0] * page.shape[1] for page in pages)


def _restore_by_strips(
    restorer: Restorer,
    page: StripedPage,
    source: str,
    target: str,
    variants: Mapping[str, Mapping[str, Any]],
    outcome: Outcome,
) -> int:
    """Restore a large TIFF of one page into a TIFF; neither is ever wholly in memory. Otherwise as `_restore`."""
    name, shape = Path(source).stem, page.shape
    size = (shape[0] * restorer.scale, shape[1] * restorer.scale, shape[2])
    for ending, controls in variants.items():
        file = Path(with_ending(target, ending))
        bands = restorer.bands(page, name=name, **controls)
        left_out = write_strips(file, bands, size, page.dtype, page.metadata)
        outcome.restored.setdefault(source, []).append(file)
        if left_out:
            outcome.notes[source] = f"{', '.join(left_out)} left out, which {file.suffix} does not hold"
    if restorer.diagnoser is not None:
        outcome.diagnoses[source] = restorer.diagnoser(page)
    return shape[0] * shape[1]


def _small(image: np.ndarray) -> np.ndarray:
    """An image of any type and channels as a picture of the grid, float [h, w, 3] in [0, 1]."""
    pixels = np.atleast_3d(image)
    pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, 2)
    return of_width(to_float(np.ascontiguousarray(pixels)), _GRID_WIDTH).astype(np.float32) / 255


def restore_bytes(restorer: Restorer, data: bytes, controls: Mapping[str, Any], max_pixels: int | None = None) -> bytes:
    """Restore the bytes of an image file; the result is those of a PNG, or of a TIFF if it was one.

    Raises:
        UnreadableImageError: the bytes are no image.
        ValueError: a control does not exist or fit.
    """
    name = "standard input"
    pages = list(decode_pages(data, name, max_pixels))
    restored = [np.atleast_3d(restorer(page, name=name, **controls)) for page in pages]
    suffix = ".tif" if kind_of(data) == "TIFF" else ".png"
    encoded = encode_pages(Path(f"out{suffix}"), restored)
    metadata = read_metadata(data).fitting(restored[0].shape[2])
    return with_metadata(suffix, encoded, restored, metadata)[0] if metadata else encoded


def _reason(error: Exception, source: str) -> str:
    """One line that says why, without the name that stands before it."""
    machine = problem_of_machine(error)
    if machine is not None and machine.startswith(NO_MEMORY):
        return f"{machine}; --tile 512 restores in tiles, which need less"
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    first = (text.strip() or type(error).__name__).splitlines()[0]
    return first.removeprefix(f"{source}: ").removeprefix("image: ")
