"""Degraded patches for probing features: every class contains the same photographs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from uir.config.yaml_file import read_yaml
from uir.core.images import list_images, read_rgb, to_tensor
from uir.core.seeds import derive_seed, numpy_generator
from uir.degradations.base import Degradation
from uir.degradations.marking_degradation import Level
from uir.degradations.pipeline_degradation import child_of
from uir.degradations.preset import Preset
from uir.degradations.recipes import load_recipe

Position = Literal["center", "random"]


@dataclass(frozen=True)
class DegradedPatches:
    """Patches of photographs, each with every degradation.

    Attributes:
        images: [N, 3, h, w] in [0, 1], photograph by photograph, and within each the classes in their order.
        classes: names of the degradations.
        photographs: names of the files.
    """

    images: Tensor
    classes: tuple[str, ...]
    photographs: tuple[str, ...]

    @property
    def labels(self) -> list[int]:
        """Index of the class of each patch."""
        return list(range(len(self.classes))) * len(self.photographs)

    @property
    def groups(self) -> list[int]:
        """Index of the photograph of each patch; a split keeps the patches of a photograph together."""
        return [photo for photo in range(len(self.photographs)) for _ in self.classes]


def degraded_patches(
    folder: Path,
    recipe: str | Path = "dcpt_5d",
    *,
    crop: int = 128,
    position: Position = "center",
    max_images: int | None = None,
    scale: int | None = None,
    seed: int = 0,
) -> DegradedPatches:
    """Cut one patch from each photograph and apply every degradation of a recipe; the same seed gives the same bits.

    Args:
        folder: photographs, subfolders included.
        recipe: see `degradation_classes`.
        crop: side of the patches in pixels, before degrading.
        position: the position of the patches.
        max_images: use only this many files, in the order of their names.
        scale: scale of recipes that make images smaller.
        seed: seed of positions and degradations.

    Raises:
        ValueError: there are fewer than two photographs, one is smaller than the crop, or the classes' results differ
            in size.
    """
    classes = degradation_classes(recipe, scale)
    files = photographs_in(folder, max_images)
    patches = []
    for file in files:
        name = file.relative_to(folder).as_posix()
        clean = _patch(file, name, crop, position, seed)
        with torch.no_grad():
            for label, degradation in classes.items():
                patches.append(degradation(clean, derive_seed(seed, "probe", name, label), label)[0])
    sizes = {label: tuple(patch.shape[-2:]) for label, patch in zip(classes, patches, strict=False)}
    if len({patch.shape for patch in patches}) != 1:
        raise ValueError(
            f"recipe {recipe}: the classes' patches differ in size ({sizes}), which would give the class away; "
            "end each with a step that restores the size"
        )
    return DegradedPatches(
        torch.stack(patches), tuple(classes), tuple(file.relative_to(folder).as_posix() for file in files)
    )


def photographs_in(folder: Path, max_images: int | None = None) -> list[Path]:
    """The first photographs of a folder, in the order of their names.

    Raises:
        ValueError: there are fewer than two; a split by photograph needs one in each part.
    """
    files = list_images(folder)[:max_images]
    if len(files) < 2:
        raise ValueError(f"{folder}: a probe needs at least 2 photographs, to split by photograph; got {len(files)}")
    return files


def degradation_classes(recipe: str | Path, scale: int | None = None) -> dict[str, Degradation]:
    """The classes of a recipe, by name.

    Args:
        recipe: a set of tasks (`dcpt_5d`, or any recipe that is a `Task` or `Level`), a test set (`gaussian8`), or a
                YAML file that contains one of these or `{label: {type: ..., ...}, ...}`.
        scale: scale of recipes that have one.

    Raises:
        ValueError: there is no such recipe, or it does not have several classes.
    """
    path = Path(recipe).expanduser()
    content = read_yaml(path)[0] if path.suffix in (".yml", ".yaml") and path.is_file() else None
    classes: Mapping[str, Degradation]
    if isinstance(content, Mapping) and not {"type", "subsets"} & set(content):
        classes = {str(label): child_of(f"recipe {path}: {label}", spec) for label, spec in content.items()}
    else:
        classes = load_recipe(recipe, scale).subsets
        if len(classes) == 1:
            (only,) = classes.values()
            while isinstance(only, Preset):
                only = only.step
            classes = only.branches if isinstance(only, Level) else classes
    if len(classes) < 2:
        raise ValueError(
            f"recipe {recipe}: a probe needs several classes; give a set of tasks (dcpt_5d), a test set (gaussian8) or "
            "a .yml file of {label: {type: ...}}"
        )
    return dict(classes)


def _patch(file: Path, name: str, crop: int, position: Position, seed: int) -> Tensor:
    image = to_tensor(read_rgb(file))
    height, width = image.shape[-2:]
    if min(height, width) < crop:
        raise ValueError(
            f"{file}: {height}x{width} (height x width) is smaller than the crop of {crop}; make it smaller"
        )
    top, left = (height - crop) // 2, (width - crop) // 2
    if position == "random":
        generator = numpy_generator(seed, "crop", name)
        top, left = (int(generator.integers(length - crop + 1)) for length in (height, width))
    return image[:, top : top + crop, left : left + crop].contiguous()
