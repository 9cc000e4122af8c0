"""Degrades folders of images by a recipe, reproducibly, and writes a list of what was done."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uir.core.files import write_text
from uir.core.progress import progress_bar
from uir.core.seeds import derive_seed
from uir.degradations.base import Degradation
from uir.degradations.degrader import Degrader
from uir.degradations.recipes import GT_FOLDER, Recipe, load_recipe
from uir.degradations.record import DegradationRecord

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class DegradedFile:
    """One image that `degrade_files` wrote.

    Attributes:
        source: the file that was read.
        relative: its path relative to the input that the user named.
        name: path of the written file relative to the output folder, with forward slashes.
        sha256: hash of the written file's bytes.
        record: the degradation.
    """

    source: Path
    relative: str
    name: str
    sha256: str
    record: DegradationRecord


def degrade_files(
    inputs: list[Path],
    output: Path,
    recipe: Recipe | Degradation | str | Path,
    seed: int = 0,
    records: bool = True,
    label: str | None = None,
) -> list[DegradedFile]:
    """Degrade image files and folders of them; write 8-bit PNGs under their relative names.

    Each image's seed is keyed by (seed, its relative name) and, in a test set, by the subset. So the result depends
    neither on the order nor on other files.

    Args:
        inputs: images, or folders; subfolders are included.
        output: the folder to write to, outside the input folders.
        recipe: a recipe, a degradation, or an argument of `load_recipe`.
        seed: any integer.
        records: also write `manifest.json`: recipe, seed and, per file, source, sha256 and record.
        label: the task label for the records.

    Raises:
        ValueError: there is no image, two images would get the same name, or an input would be overwritten; nothing is
            written then. Also if an image cannot be read or is smaller than the scale.
    """
    # imported here, because uir.data imports from degradations and only this function needs uir.data
    from uir.core.images import read_rgb, to_tensor

    if isinstance(recipe, Degradation):
        recipe = Recipe(type(recipe).__name__, {"": recipe})
    elif not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    output = Path(output)
    sources = _find_images([Path(item) for item in inputs], output, recipe)
    (output / MANIFEST_NAME).unlink(missing_ok=True)  # an older list would not describe the new files
    written, clean = [], []
    with progress_bar() as progress:
        task = progress.add_task("Degrading", total=len(sources) * len(recipe.subsets), note="")
        for relative, source in sources.items():
            image = _cropped(to_tensor(read_rgb(source)), recipe.scale, source)
            if recipe.write_gt:
                name = _written_name(relative, GT_FOLDER)
                clean.append(DegradedFile(source, relative, name, _write(output / name, image), DegradationRecord(())))
            for subset, degradation in recipe.subsets.items():
                key = derive_seed(seed, relative) if not subset else derive_seed(seed, subset, relative)
                name = _written_name(relative, subset)
                with torch.no_grad():
                    apply = degradation if recipe.scale is None else Degrader(degradation, recipe.scale).image
                    degraded, record = apply(image, key, label)
                written.append(DegradedFile(source, relative, name, _write(output / name, degraded), record))
                progress.advance(task)
    if records:
        _write_manifest(output / MANIFEST_NAME, recipe, seed, written, clean)
    return written


def _cropped(image: Tensor, scale: int | None, source: Path) -> Tensor:
    if scale is None:
        return image
    height, width = image.shape[-2:]
    if min(height, width) < scale:
        raise ValueError(f"degrade: '{source}' is {height}x{width}, smaller than the scale {scale}")
    return image[:, : height - height % scale, : width - width % scale]


def _write(path: Path, image: Tensor) -> str:
    from uir.core.images import write_image

    write_image(path, image)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _find_images(inputs: list[Path], output: Path, recipe: Recipe) -> dict[str, Path]:
    """Relative name → file, checked against collisions and against overwriting an input."""
    from uir.core.images import IMAGE_EXTENSIONS, list_images

    sources: dict[str, Path] = {}
    targets: dict[str, Path] = {}
    for item in inputs:
        if not item.exists():
            raise ValueError(f"degrade: there is no file or folder '{item}'")
        if item.is_file() and item.suffix.lower() not in IMAGE_EXTENSIONS:
            raise ValueError(f"degrade: '{item}' is no image ({', '.join(sorted(IMAGE_EXTENSIONS))})")
        if item.is_dir() and output.resolve().is_relative_to(item.resolve()):
            raise ValueError(
                f"degrade: the output folder '{output}' is inside the input folder '{item}'; choose one outside it"
            )
        for file in list_images(item) if item.is_dir() else [item]:
            relative = file.relative_to(item).as_posix() if item.is_dir() else file.name
            target = _written_name(relative, "")
            if target in targets:
                if targets[target].resolve() == file.resolve():
                    continue  # the same file named twice
                raise ValueError(
                    f"degrade: '{targets[target]}' and '{file}' would both be written to '{output / target}'"
                )
            targets[target] = sources[relative] = file
    if not sources:
        raise ValueError(f"degrade: no image found in {', '.join(map(str, inputs)) or 'an empty list of inputs'}")
    read = {file.resolve() for file in sources.values()}
    folders = [*recipe.subsets, *([GT_FOLDER] if recipe.write_gt else [])]
    for written in (output / folder / name for folder in folders for name in targets):
        if written.resolve() in read:
            raise ValueError(f"degrade: '{written}' is an input and would be overwritten; choose another output folder")
    return sources


def _written_name(relative: str, folder: str) -> str:
    name = Path(relative).with_suffix(".png").as_posix()
    return f"{folder}/{name}" if folder else name


def _write_manifest(
    path: Path, recipe: Recipe, seed: int, written: list[DegradedFile], clean: list[DegradedFile]
) -> None:
    files = [
        {"file": file.name, "source": file.relative, "sha256": file.sha256, "record": file.record.to_dict()}
        for file in written
    ]
    manifest: dict[str, Any] = {"recipe": recipe.name, "scale": recipe.scale, "seed": seed, "files": files}
    if clean:
        manifest["gt"] = [{"file": file.name, "source": file.relative, "sha256": file.sha256} for file in clean]
    write_text(path, json.dumps(manifest, indent=1) + "\n")
