"""Pictures of degradations: a photograph through ops at three severities, or through a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uir.core.sheets import as_picture, write_sheet
from uir.degradations.base import Degradation
from uir.registry import DEGRADATION_REGISTRY
from uir.registry.components import build

SEVERITY_NAMES = ("mild", "medium", "severe")
GIVEN = "as given"  # the user's photograph, which need not be clean
DRAWS = 3


def pictured_ops() -> dict[str, list[str]]:
    """The registered ops that define three severities, by family, in alphabetical order."""
    families: dict[str, list[str]] = {}
    for name in sorted(DEGRADATION_REGISTRY.keys()):
        op = DEGRADATION_REGISTRY.get(name)
        if isinstance(op, type) and issubclass(op, Degradation) and op.severities:
            families.setdefault(op.family, []).append(name)
    return dict(sorted(families.items()))


def write_degradation_sheets(
    inputs: Sequence[Path], output: Path, recipe: str | None = None, seed: int = 0, width: int = 320
) -> list[Path]:
    """Write a sheet for each photograph: `<stem>_sheet.jpg`.

    Args:
        inputs: photographs, or folders of them.
        output: the folder to write to.
        recipe: a degradation's name or a YAML file. An op is shown at its three severities, everything else with three
            random draws. Default: every op.
        seed: seed of the draws.
        width: width of a picture on the sheet, in pixels.

    Raises:
        ValueError: there is no photograph, two of them would get the same sheet, or there is no such recipe.
    """
    from uir.core.images import read_rgb, to_tensor

    sheets = _sheets_of([Path(item) for item in inputs], Path(output))
    names = [name for ops in pictured_ops().values() for name in ops] if recipe is None else [recipe]
    sheets_written = []
    for sheet, file in sheets.items():
        clean = to_tensor(read_rgb(file))
        rows, titles = zip(*(_row(name, clean, seed) for name in names), strict=True)
        sheets_written.append(write_sheet(sheet, rows, titles[0], width))
    return sheets_written


def _sheets_of(inputs: Sequence[Path], output: Path) -> dict[Path, Path]:
    """The photograph for each sheet."""
    from uir.core.images import list_images

    sheets: dict[Path, Path] = {}
    for item in inputs:
        if not item.exists():
            raise ValueError(f"degrade: there is no file or folder '{item}'")
        for file in list_images(item) if item.is_dir() else [item]:
            sheet = output / f"{file.stem}_sheet.jpg"
            other_file = sheets.setdefault(sheet, file)
            if other_file.resolve() != file.resolve():
                raise ValueError(
                    f"degrade: the sheets of '{other_file}' and '{file}' would both be written to '{sheet}'"
                )
    if not sheets:
        raise ValueError(f"degrade: no image found in {', '.join(map(str, inputs)) or 'an empty list of inputs'}")
    return sheets


def op_rows(names: Sequence[str], clean: Tensor, seed: int = 0) -> list[tuple[str, list[np.ndarray]]]:
    """A row for each op: the clean image [3, H, W] and three severities, as `picture_sheet` takes them."""
    rows = []
    for name in names:
        arguments: Sequence[Mapping[str, Any]] = DEGRADATION_REGISTRY.get(name).severities
        ops = [build(DEGRADATION_REGISTRY, {"type": name, **op_arguments}) for op_arguments in arguments]
        images = [clean, *(op(clean, seed)[0] for op in ops)]
        rows.append((name, [as_picture(image, clean.shape[-2:]) for image in images]))
    return rows


def _row(recipe: str, clean: Tensor, seed: int) -> tuple[tuple[str, list[np.ndarray]], list[str]]:
    from uir.degradations.recipes import load_recipe

    if recipe in DEGRADATION_REGISTRY and DEGRADATION_REGISTRY.get(recipe).severities:
        return op_rows([recipe], clean, seed)[0], [GIVEN, *SEVERITY_NAMES]
    loaded = load_recipe(recipe)
    scale = loaded.scale or 1
    height, width = (length - length % scale for length in clean.shape[-2:])
    clean = clean[:, :height, :width]
    images, titles = [clean], [GIVEN]
    draws = range(DRAWS) if len(loaded.subsets) == 1 else range(1)
    with torch.no_grad():
        for subset, degradation in loaded.subsets.items():
            for draw in draws:
                images.append(degradation(clean, seed + draw)[0])
                titles.append(subset if len(loaded.subsets) > 1 else f"seed {seed + draw}")
    return (Path(recipe).stem, [as_picture(image, clean.shape[-2:]) for image in images]), titles
