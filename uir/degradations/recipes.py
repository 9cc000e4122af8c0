"""Recipes: a degradation by its name or from a YAML file, or a test set of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uir.config.yaml_file import read_yaml
from uir.degradations.base import Degradation
from uir.degradations.preset import Preset
from uir.degradations.test_sets import TEST_SETS
from uir.registry import DEGRADATION_REGISTRY, UnknownNameError, nearest_names
from uir.registry.components import build, signature_of

LQ_FOLDER, GT_FOLDER = "lq", "gt"


@dataclass(frozen=True)
class Recipe:
    """The work of `degrade_files` on each image.

    Attributes:
        name: the name that the user gave.
        subsets: degradations by the folder for their results; "" is the output folder itself.
        scale: size of an image divided by size of its result; images are first cropped to a multiple of it, and the
            result is checked. None: images are whole, and results may have any size.
        write_gt: also write the clean images, cropped.
    """

    name: str
    subsets: Mapping[str, Degradation]
    scale: int | None = None
    write_gt: bool = False


def load_recipe(name_or_path: str | Path, scale: int | None = None, write_gt: bool = False) -> Recipe:
    """The recipe of a name or a file.

    Args:
        name_or_path: a test set ("gaussian8"), a registered degradation with its defaults ("Haze",
                "realesrgan"), or a YAML file with `{type: ..., ...}` or `{scale: 4, subsets: {name: {type: ...}}}`.
        scale: the scale of a test set or of a degradation with an argument `scale` (default its own), or the scale to
            check a file's results against.
        write_gt: also write the clean images; a test set always does.

    Raises:
        ValueError: there is no such recipe, it has no `scale`, or the file does not describe a degradation.
    """
    name = str(name_or_path)
    if scale is not None and scale < 1:
        raise ValueError(f"recipe '{name}': scale must be at least 1, got {scale}")
    if name in TEST_SETS:
        test_set = TEST_SETS[name]
        takes_scale = "scale" in signature_of(test_set).parameters
        if scale is not None and not takes_scale:
            raise ValueError(f"recipe '{name}': it has no scale")
        result = test_set(scale) if scale is not None else test_set()
        subsets = {key: _build(name, spec) for key, spec in result.subsets.items()}
        return Recipe(name, subsets, result.scale, True)
    path = _as_file(name_or_path)
    content = _content_of(path) if path is not None else {}
    if path is not None and "subsets" in content:
        return _listed_subsets(path, content, scale)
    degradation = load_degradation(name_or_path, None if path is not None else scale)
    own = degradation.scale if isinstance(degradation, Preset) else scale
    if scale is not None and scale != own:
        raise ValueError(f"recipe {name}: it makes images {own} times smaller, not {scale} times; correct its `scale`")
    return Recipe(name, {LQ_FOLDER if write_gt else "": degradation}, own, write_gt)


def load_degradation(name_or_path: str | Path, scale: int | None = None) -> Degradation:
    """The degradation of a registered name, with its defaults, or of a YAML file with `{type: ..., ...}`.

    Raises:
        ValueError: there is no such degradation or file, it has no `scale`, or the file does not describe a
            degradation.
    """
    path = _as_file(name_or_path)
    if path is not None:
        return _build(str(path), _content_of(path))
    return _registered(str(name_or_path), scale)


def _as_file(name_or_path: str | Path) -> Path | None:
    path = Path(name_or_path).expanduser()
    return path if path.suffix in (".yml", ".yaml") or path.is_file() else None


def _listed_subsets(path: Path, content: Mapping[str, Any], scale: int | None) -> Recipe:
    unknown = sorted(set(content) - {"subsets", "scale"})
    if unknown or not isinstance(content["subsets"], Mapping) or not content["subsets"]:
        raise ValueError(f"recipe {path}: a test set has `scale` and `subsets: {{name: {{type: ...}}}}`, got {content}")
    scale_in_file = content.get("scale", 1)
    if isinstance(scale_in_file, bool) or not isinstance(scale_in_file, int) or scale_in_file < 1:
        raise ValueError(f"recipe {path}: scale must be a whole number of at least 1, got {scale_in_file!r}")
    subsets = {_folder_name(path, key): _build(f"{path}: {key}", spec) for key, spec in content["subsets"].items()}
    return Recipe(str(path), subsets, scale_in_file if scale is None else scale, True)


def _folder_name(path: Path, key: Any) -> str:
    name = str(key)
    if name in ("", ".", "..", GT_FOLDER) or "/" in name or "\\" in name:
        raise ValueError(
            f"recipe {path}: subsets.{name}: expected the name of one folder, other than '{GT_FOLDER}', which contains "
            "the clean images"
        )
    return name


def _registered(name: str, scale: int | None) -> Degradation:
    if name not in DEGRADATION_REGISTRY:
        names = [*DEGRADATION_REGISTRY.keys(), *TEST_SETS]
        near = nearest_names(name, names)
        hint = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(names)}"
        raise ValueError(f"recipe '{name}': neither a degradation nor a test set ({hint}) nor a .yml file")
    if scale is not None and "scale" not in signature_of(DEGRADATION_REGISTRY.get(name)).parameters:
        raise ValueError(f"recipe '{name}': it has no scale; leave --scale out, or describe it in a .yml file")
    spec = {"type": name} if scale is None else {"type": name, "scale": scale}
    return _build(name, spec)


def _content_of(path: Path) -> Mapping[str, Any]:
    content, _ = read_yaml(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"recipe {path}: expected a mapping with `type` at the top, got {type(content).__name__}")
    return content


def _build(where: str, spec: Mapping[str, Any]) -> Degradation:
    try:
        built = build(DEGRADATION_REGISTRY, spec)
    except (ValueError, UnknownNameError) as error:
        hint = (
            " (it has no defaults; describe it in a .yml file)" if "missing a required argument" in str(error) else ""
        )
        raise ValueError(f"recipe {where}: {error}{hint}") from error
    if not isinstance(built, Degradation):
        raise ValueError(f"recipe {where}: {spec['type']} does not extend uir's Degradation")
    return built
