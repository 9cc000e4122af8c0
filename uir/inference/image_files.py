"""Restoring files and folders: every file is accounted for."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from uir.core.distributed import gathered, rank_and_world
from uir.core.environment import NO_MEMORY, problem_of_machine
from uir.core.image_heads import kind_of
from uir.core.image_metadata import Metadata, read_metadata
from uir.core.images import (
    FLOAT_EXTENSIONS,
    PAGES_EXTENSIONS,
    check_writable,
    decode_pages,
    encode_pages,
    read_content,
    to_float,
    write_bands,
    write_pages,
)
from uir.core.progress import progress_bar
from uir.core.sheets import of_width, write_sheet
from uir.core.tiff_strips import striped_page
from uir.inference.diagnosis import Diagnosis, diagnosed_text
from uir.inference.image_plan import Plan, counted, plan_files, with_ending
from uir.inference.restorer import Restorer

logger = logging.getLogger("uir")
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

    Colour profile, EXIF and resolution of a file are kept, and the floats of a TIFF.

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
    with progress_bar(unit="MP", visible=visible and rank == 0) as bar:
        progress = _Progress(bar, len(jobs))
        for source, target in jobs:
            try:
                _restore(restorer, source, target, variants, max_pixels, share, plan.grid, progress)
            except (ValueError, OSError, MemoryError, RuntimeError) as error:  # torch's own errors are RuntimeErrors
                share.failed[source] = _reason(error, source)
            progress.finish()
    outcome = Outcome(left_out=dict(plan.left_out), done=list(plan.done))
    for part in gathered(share):
        outcome.add(part)
    return outcome


class _Progress:
    """Megapixels restored, of as many as there may be: images that were not read yet count as large as the others.

    Args:
        bar: where they are shown.
        images: how many there are.
    """

    def __init__(self, bar: Progress, images: int) -> None:
        self._bar, self._images = bar, images
        self._task = bar.add_task("Restoring megapixels", total=None, note="")
        self._done = self._known = 0.0
        self._count = 1

    def begin(self, pixels: int) -> None:
        """An image of so many pixels comes next."""
        self._known += pixels / 1e6
        self._show()

    def over(self, bands: Iterable[np.ndarray], scale: int) -> Iterator[np.ndarray]:
        """The same bands of a result, which is `scale` times as large as the image."""
        for band in bands:
            yield band
            self._done += band.shape[0] * band.shape[1] / scale**2 / 1e6
            self._show()

    def finish(self) -> None:
        """The image is done, or it failed."""
        self._done = self._known
        self._count += 1

    def _show(self) -> None:
        total = max(self._known / self._count * self._images, 1e-9)
        note = f"image {self._count} of {self._images}"
        self._bar.update(self._task, completed=self._done, total=total, note=note)


def _restore(
    restorer: Restorer,
    source: str,
    target: str,
    variants: Mapping[str, Mapping[str, Any]],
    max_pixels: int | None,
    outcome: Outcome,
    grid: str,
    progress: _Progress,
) -> None:
    """Restore one file, and note what became of it; a written file counts as soon as it is there.

    The results of a sweep are also shown side by side, in the file with the ending `grid`. A PNG and a TIFF of one page
    are written while they are restored, so that the result is never wholly in memory.
    """
    if Path(target).suffix.lower() in PAGES_EXTENSIONS and not grid:
        with striped_page(source, max_pixels) as striped:
            if striped is not None:
                _restore_pages(restorer, [striped], striped.metadata, source, target, variants, outcome, "", progress)
                return
    content = read_content(source)
    pages, metadata = list(decode_pages(content, source, max_pixels)), read_metadata(content)
    del content  # the file of a large image is large
    if metadata.is_grey:
        pages = [_without_copies_of_grey(page) for page in pages]
    _restore_pages(restorer, pages, metadata, source, target, variants, outcome, grid, progress)


def _restore_pages(
    restorer: Restorer,
    pages: Sequence[Any],
    metadata: Metadata,
    source: str,
    target: str,
    variants: Mapping[str, Mapping[str, Any]],
    outcome: Outcome,
    grid: str,
    progress: _Progress,
) -> None:
    """The same for pages that were read, or that are read by strips."""
    bits = [_bits(page.dtype, Path(target)) for page in pages]
    for page, depth in zip(pages, bits, strict=True):
        check_writable(Path(target), page.shape[2], depth, len(pages))
    stem = os.path.splitext(os.path.basename(source))[0]
    names = [stem, *(f"{stem}_{index}" for index in range(1, len(pages)))]
    notes = _notes(metadata)
    if bits[0] < 8 * pages[0].dtype.itemsize:
        notes.append(f"floats, written with {bits[0]} bits; a TIFF keeps floats")
    shown = [_small(pages[0])] if grid else []
    progress.begin(sum(page.shape[0] * page.shape[1] for page in pages) * len(variants))
    left_out: list[str] = []
    for ending, controls in variants.items():
        file = Path(with_ending(target, ending))
        results = [
            progress.over(restorer.bands(page, name=name, **controls), restorer.scale)
            for page, name in zip(pages, names, strict=True)
        ]
        if len(pages) == 1 and not grid and bits[0] == 8 * pages[0].dtype.itemsize:
            size = (pages[0].shape[0] * restorer.scale, pages[0].shape[1] * restorer.scale, pages[0].shape[2])
            left_out = write_bands(file, results[0], size, pages[0].dtype, metadata)
        else:
            restored = [np.concatenate(list(bands)) for bands in results]
            left_out = write_pages(file, restored, bits=bits[0], metadata=metadata)
            shown += [_small(restored[0])] if grid else []
        outcome.restored.setdefault(source, []).append(file)
    if grid:
        file = Path(with_ending(target, grid))
        write_sheet(file, [(stem, shown)], ["input", *(ending.removeprefix("_") for ending in variants)], _GRID_WIDTH)
        outcome.restored[source].append(file)
    notes += [f"{', '.join(left_out)} left out, which {file.suffix} does not hold"] if left_out else []
    if notes:
        outcome.notes[source] = "; ".join(notes)
    if restorer.diagnoser is not None:
        outcome.diagnoses[source] = restorer.diagnoser(pages[0])


def _without_copies_of_grey(page: np.ndarray) -> np.ndarray:
    """Grey and alpha of a page that was read as RGBA of three equal colours."""
    return np.ascontiguousarray(page[:, :, [0, 3]]) if page.shape[2] == 4 else page


def _bits(kind: np.dtype, target: Path) -> int:
    """Bits per channel of the file: those of the pixels, but 16 for floats where it holds none."""
    holds_floats = target.suffix.lower() in FLOAT_EXTENSIONS
    return 8 * kind.itemsize if holds_floats else min(16, 8 * kind.itemsize)


def _notes(metadata: Metadata) -> list[str]:
    return [f"{metadata.stored}, converted to RGB"] if metadata.stored else []


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
    pages, metadata = list(decode_pages(data, name, max_pixels)), read_metadata(data)
    if metadata.is_grey:
        pages = [_without_copies_of_grey(page) for page in pages]
    for note in _notes(metadata):
        logger.warning("%s: %s", name, note)
    restored = [np.concatenate(list(restorer.bands(page, name=name, **controls))) for page in pages]
    suffix = ".tif" if kind_of(data) == "TIFF" else ".png"
    return encode_pages(Path(f"out{suffix}"), restored, metadata)


def _reason(error: Exception, source: str) -> str:
    """One line that says why, without the name that stands before it."""
    machine = problem_of_machine(error)
    if machine is not None and machine.startswith(NO_MEMORY):
        return f"{machine}; --tile 512 restores in tiles, which need less"
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    first = (text.strip() or type(error).__name__).splitlines()[0]
    return first.removeprefix(f"{source}: ").removeprefix("image: ")
