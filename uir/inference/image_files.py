"""Restoring files and folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from uir.core.images import IMAGE_EXTENSIONS, UnreadableImageError, list_images, read_image, write_image
from uir.core.progress import progress_bar
from uir.inference.restorer import Restorer
from uir.layers.degradation_code import DegradationCode


def restore_files(
    restorer: Restorer, inputs: Iterable[Path], output: Path, code: DegradationCode | None = None
) -> list[Path]:
    """Restore images and write them as PNG (TIFF stays TIFF), with their own bit depth and channels.

    Args:
        inputs: images, and folders that are searched through; names below a folder are kept.
        output: a folder, or the file to write where there is one image.
        code: the degradation code to restore all of them by; default each image's own.

    Returns:
        The files written.

    Raises:
        ValueError: no image was found, an input would be overwritten, or files could not be read; the others are
            written first.
    """
    jobs = plan(list(inputs), output)
    written, failed = [], []
    with progress_bar() as progress:
        task = progress.add_task("Restoring", total=len(jobs), note="")
        for source, target in jobs:
            try:
                image = read_image(source)
            except (UnreadableImageError, OSError) as error:
                failed.append(str(error))
            else:
                restored = restorer(image, code)
                write_image(target, restored, bits=16 if restored.dtype.itemsize > 1 else 8)
                written.append(target)
            progress.advance(task)
    if failed:
        raise ValueError(
            f"{len(failed)} of {len(jobs)} images could not be read, the others are written: " + "; ".join(failed)
        )
    return written


def plan(inputs: list[Path], output: Path) -> list[tuple[Path, Path]]:
    """Which file goes where."""
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
    for source, target in jobs:
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
