"""Recipes: a degradation by its name or from a YAML file, applied to whole folders of images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from uir.components import build
from uir.degradations.base import Degradation
from uir.degradations.record import DegradationRecord
from uir.files import write_text
from uir.progress import progress_bar
from uir.registry import DEGRADATION_REGISTRY, UnknownNameError, nearest_names
from uir.seeds import derive_seed
from uir.yaml_file import read_yaml

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class DegradedFile:
    """One image that `degrade_files` wrote.

    Attributes:
        source: the file that was read.
        name: path of the written file below the output folder, with forward slashes.
        sha256: of the written file's bytes.
        record: what was done.
    """

    source: Path
    name: str
    sha256: str
    record: DegradationRecord


def load_recipe(name_or_path: str | Path) -> Degradation:
    """The degradation that a recipe describes.

    Args:
        name_or_path: a registered op, taken with its defaults ("Haze"), or a YAML file that holds `{type: ..., ...}`.

    Raises:
        ValueError: no such op or file, or the file does not describe a degradation; the message names the file.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix in (".yml", ".yaml") or path.is_file():
        return _load_file(path)
    name = str(name_or_path)
    if name not in DEGRADATION_REGISTRY:
        known = DEGRADATION_REGISTRY.keys()
        near = nearest_names(name, known)
        hint = f"nearest: {', '.join(near)}" if near else f"ops: {', '.join(known)}"
        raise ValueError(f"recipe '{name}': neither a degradation ({hint}) nor a .yml file")
    return _build(name, {"type": name}, " (this one has no defaults; describe it in a .yml file)")


def _load_file(path: Path) -> Degradation:
    content, _ = read_yaml(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"recipe {path}: expected a mapping with `type` at the top, got {type(content).__name__}")
    return _build(str(path), content)


def _build(where: str, spec: Mapping[str, Any], hint: str = "") -> Degradation:
    try:
        built = build(DEGRADATION_REGISTRY, spec)
    except (ValueError, UnknownNameError) as error:
        raise ValueError(f"recipe {where}: {error}{hint}") from error
    if not isinstance(built, Degradation):
        raise ValueError(f"recipe {where}: {spec['type']} does not extend uir's Degradation")
    return built


def degrade_files(
    inputs: list[Path],
    output: Path,
    recipe: Degradation | str | Path,
    seed: int = 0,
    records: bool = False,
    label: str | None = None,
) -> list[DegradedFile]:
    """Degrade image files and folders of them; 8-bit PNGs under their relative names come out.

    Each image's seed is keyed by (seed, its relative name), so that the result depends neither on the order nor on what
    else is there.

    Args:
        inputs: images, or folders that are searched with everything below them.
        output: the folder to write to, outside the input folders.
        recipe: a degradation, or what `load_recipe` takes.
        seed: any integer.
        records: also write `manifest.json`: seed and, per file, source, sha256 and record.
        label: the task label put into the records.

    Raises:
        ValueError: no image is found, two images would get the same name, or an input would be overwritten; nothing is
            written then. Also an image that cannot be read.
    """
    # here, not above: uir.data builds on degradations, only this function goes the other way
    from uir.data.images import read_rgb, to_tensor, write_image

    degradation = recipe if isinstance(recipe, Degradation) else load_recipe(recipe)
    output = Path(output)
    sources = _find_images([Path(item) for item in inputs], output)
    written = []
    with progress_bar() as progress:
        task = progress.add_task("Degrading", total=len(sources), note="")
        for relative, source in sources.items():
            target = _written_name(relative)
            image = to_tensor(read_rgb(source))
            with torch.no_grad():
                degraded, record = degradation(image, derive_seed(seed, relative), label)
            write_image(output / target, degraded)
            digest = hashlib.sha256((output / target).read_bytes()).hexdigest()
            written.append(DegradedFile(source, target, digest, record))
            progress.advance(task)
    if records:
        _write_manifest(output / MANIFEST_NAME, seed, written)
    return written


def _find_images(inputs: list[Path], output: Path) -> dict[str, Path]:
    """Relative name → file, checked against collisions and against overwriting an input."""
    from uir.data.images import IMAGE_EXTENSIONS, list_images

    sources: dict[str, Path] = {}
    targets: dict[str, Path] = {}
    for item in inputs:
        if not item.exists():
            raise ValueError(f"degrade: there is no file or folder '{item}'")
        if item.is_file() and item.suffix.lower() not in IMAGE_EXTENSIONS:
            raise ValueError(f"degrade: '{item}' is no image ({', '.join(sorted(IMAGE_EXTENSIONS))})")
        if item.is_dir() and output.resolve().is_relative_to(item.resolve()):
            raise ValueError(
                f"degrade: the output folder '{output}' lies in the input folder '{item}'; choose one outside it"
            )
        for file in list_images(item) if item.is_dir() else [item]:
            relative = file.relative_to(item).as_posix() if item.is_dir() else file.name
            target = _written_name(relative)
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
    for target in targets:
        if (output / target).resolve() in read:
            raise ValueError(
                f"degrade: '{output / target}' is an input and would be overwritten; choose another output folder"
            )
    return sources


def _written_name(relative: str) -> str:
    return Path(relative).with_suffix(".png").as_posix()


def _write_manifest(path: Path, seed: int, written: list[DegradedFile]) -> None:
    files = [
        {"file": file.name, "source": str(file.source), "sha256": file.sha256, "record": file.record.to_dict()}
        for file in written
    ]
    write_text(path, json.dumps({"seed": seed, "files": files}, indent=1) + "\n")
