"""Restoring files and folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from uir.core.images import IMAGE_EXTENSIONS, UnreadableImageError, list_images, read_image, write_image
from uir.core.progress import progress_bar
from uir.inference.restorer import NonFiniteImageError, Restorer


def restore_files(
    restorer: Restorer,
    inputs: Iterable[Path],
    output: Path,
    controls: Mapping[str, Any] | None = None,
    sweep: str | None = None,
) -> list[Path]:
    """Restore images and write them as PNG (TIFF stays TIFF), with their own bit depth and channels.

    Args:
        inputs: images, and folders that are searched through; names below a folder are kept.
        output: a folder, or the file to write where there is one image.
        controls: what the method lets a user set.
        sweep: several values of one control, `name=from:to:count` or `name=a,b,c`; each makes a file of its own,
            `<image>_<name>=<value>.png`.

    Returns:
        The files written.

    Raises:
        ValueError: no image was found, an input would be overwritten, a control does not exist or fit, files could not
            be read, or a network gave NaN or infinity; the others are written first.
    """
    controls = dict(controls or {})
    variants = swept(sweep) if sweep else {"": {}}
    for variant in variants.values():
        restorer.predictor.read({**controls, **variant})  # before anything is written
    jobs = plan(list(inputs), output, list(variants))
    written, failed = [], []
    with progress_bar() as progress:
        task = progress.add_task("Restoring", total=len(jobs) * len(variants), note="")
        for source, target in jobs:
            try:
                image = read_image(source)
            except (UnreadableImageError, OSError) as error:
                failed.append(str(error))
                progress.advance(task, len(variants))
                continue
            for ending, variant in variants.items():
                progress.advance(task)
                try:
                    restored = restorer(image, name=source.stem, **{**controls, **variant})
                except NonFiniteImageError as error:
                    failed.append(f"{source}: {error}")
                    continue
                file = target.with_stem(target.stem + ending)
                write_image(file, restored, bits=16 if restored.dtype.itemsize > 1 else 8)
                written.append(file)
    if failed:
        total = len(jobs) * len(variants)
        count = f"{total - len(written)} of {total} images"
        raise ValueError(f"{count} could not be restored, the others are written: {'; '.join(failed)}")
    return written


def swept(sweep: str) -> dict[str, dict[str, str]]:
    """The values of a sweep, by the ending of the files' names.

    Raises:
        ValueError: it is not written as it should be.
    """
    name, equals, text = sweep.partition("=")
    bounds = text.split(":")
    if name and equals and len(bounds) == 3:
        try:
            low, high, count = float(bounds[0]), float(bounds[1]), int(bounds[2])
        except ValueError:
            count = 0
        if count >= 2:
            values = [f"{low + (high - low) * index / (count - 1):g}" for index in range(count)]
            return {f"_{name}={value}": {name: value} for value in values}
    elif name and equals and text and len(bounds) == 1:
        return {f"_{name}={value}": {name: value} for value in text.split(",")}
    raise ValueError(f"--sweep: expected name=from:to:count (of 2 or more) or name=a,b,c, got '{sweep}'")


def plan(inputs: list[Path], output: Path, endings: Sequence[str] = ("",)) -> list[tuple[Path, Path]]:
    """Which file goes where; each of the `endings` of its name makes a file."""
    jobs: list[tuple[Path, Path]] = []
    for given in inputs:
        if not given.exists():
            raise ValueError(f"{given}: there is no such file or folder")
        files = list_images(given) if given.is_dir() else [given]
        jobs += [
            (file, output / _target(file.relative_to(given) if given.is_dir() else Path(file.name))) for file in files
        ]
    if not jobs:
        raise ValueError(
            f"no image in {', '.join(map(str, inputs))}; known kinds: {', '.join(sorted(IMAGE_EXTENSIONS))}"
        )
    if output.suffix.lower() in IMAGE_EXTENSIONS and not output.is_dir():
        if len(jobs) > 1:
            raise ValueError(f"{output}: one file cannot hold {len(jobs)} images; give a folder")
        jobs = [(jobs[0][0], output)]
    targets: dict[Path, Path] = {}
    sources = {source.resolve() for source, _ in jobs}
    for source, plain in jobs:
        for target in (plain.with_stem(plain.stem + ending) for ending in endings):
            if target.resolve() in sources:
                raise ValueError(f"{target}: would overwrite an input; give another output folder")
            if target in targets:
                raise ValueError(
                    f"{source} and {targets[target]} would both be written to {target}; restore them one by one"
                )
            targets[target] = source
    return jobs


def _target(name: Path) -> Path:
    return name if name.suffix.lower() in (".png", ".tif", ".tiff") else name.with_suffix(".png")
