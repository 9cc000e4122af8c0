"""The option keys of csjliang/DASR (Liang et al., ECCV 2022), as uir's own keys.

Its model degrades the images itself, by ranges at the top of the file and kernels of its dataset. In uir the recipe
`dasr_liang` has them all. So ranges that are the published ones are left out, and others are refused.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from uir.config.dialects import Translation
from uir.config.yaml_file import KeyPath, Mark
from uir.registry import DATASET_REGISTRY, MODEL_REGISTRY, UnknownNameError

MODEL, DATASET = "DASRModel", "DASRDataset"
LEVELS = ("weak", "standard", "severe")
GT_SIZE = 400  # pixels, before degrading
_COMMON = {
    "gaussian_noise_prob": 0.5, "gray_noise_prob": 0.4, "kernel_list": ["iso", "aniso"], "kernel_prob": [0.65, 0.35],
    "sinc_prob": 0, "blur_kernel_size_minimum": 7, "blur_kernel_size_maximum": 21, "blur_kernel_size": 21,
}  # fmt: skip
_RANGES: dict[str, dict[str, Any]] = {
    "_weak1": {
        "resize_prob": [0.1, 0.2, 0.7], "resize_range": [0.85, 1.2], "noise_range": [1, 10],
        "poisson_scale_range": [0.05, 0.5], "jpeg_range": [90, 95], "blur_sigma": [0.2, 0.8],
    },
    "_standard1": {
        "resize_prob": [0.3, 0.4, 0.3], "resize_range": [0.5, 1.2], "noise_range": [1, 20],
        "poisson_scale_range": [0.05, 1.5], "jpeg_range": [50, 95], "blur_sigma": [0.2, 1.5],
    },
    "": {
        "resize_prob": [0.2, 0.7, 0.1], "resize_range": [0.15, 1.5], "noise_range": [1, 30],
        "poisson_scale_range": [0.05, 3], "jpeg_range": [30, 95], "blur_sigma": [0.2, 3],
    },
    "2": {
        "resize_prob": [0.3, 0.4, 0.3], "resize_range": [0.3, 1.2], "noise_range": [1, 25],
        "poisson_scale_range": [0.05, 2.5], "jpeg_range": [30, 95], "blur_sigma": [0.2, 1.5],
    },
}  # fmt: skip
PUBLISHED: dict[str, Any] = {
    **{f"{key}{stage}": value for stage, ranges in _RANGES.items() for key, value in {**_COMMON, **ranges}.items()},
    "second_blur_prob": 0.8, "final_sinc_prob": 0.8,
}  # fmt: skip
"""The values of the published training file that the recipe has."""
_DEAD = re.compile(r"(l1_gt_usm|percep_gt_usm|gan_gt_usm|num_degradation_params|road_map|beta[gp]_range\w*)")
_LISTED = "the folder's images are all used"


def translate(raw: Mapping[str, Any], marks: Mapping[KeyPath, Mark]) -> Translation | None:
    """A merged option mapping in uir's form; None if it is no training file of csjliang/DASR."""
    data = raw.get("datasets")
    train = data.get("train") if isinstance(data, Mapping) else None
    if raw.get("model_type") != MODEL or not isinstance(train, Mapping) or train.get("type") != DATASET:
        return None
    if _is_plugins(MODEL_REGISTRY, MODEL) or _is_plugins(DATASET_REGISTRY, DATASET):
        return None
    changed: dict[str, Any] = copy.deepcopy(dict(raw))
    reasons: dict[KeyPath, str] = {}
    refused: dict[KeyPath, str] = {}
    where: KeyPath = ("datasets", "train")
    dataset = changed["datasets"]["train"]
    weights = _weights({**changed, **dataset})
    for path, section in (((), changed), (where, dataset)):
        for key in [key for key in section if key in PUBLISHED or _DEAD.fullmatch(str(key)) or _own(key)]:
            value = section.pop(key)
            if key in PUBLISHED and value is not None and value != PUBLISHED[key]:
                refused[(*path, key)] = (
                    f"the recipe dasr_liang has {PUBLISHED[key]}; write other ranges as a `degradation` of the "
                    "training set (options/degradation/dasr_liang.yml)"
                )
            else:
                reasons[(*path, key)] = "the recipe dasr_liang has it" if key in PUBLISHED or _own(key) else "not read"
    _use_recipe(changed, dataset, weights, reasons)
    _joint_training(changed, reasons)
    notes = (
        "datasets.train is a DegradedImageDataset with the recipe dasr_liang of legacy: true, on sharpened images",
        "train.legacy is true",
    )
    return Translation(changed, dict(marks), {}, notes, reasons, refused, "csjliang/DASR's")


def _own(key: Any) -> bool:
    return key in ("degree_list", "degree_prob", "gt_usm")


def _weights(keys: Mapping[str, Any]) -> dict[str, float]:
    """The weight of each level: `degree_list` and `degree_prob`."""
    names, chances = keys.get("degree_list"), keys.get("degree_prob")
    if not isinstance(names, list):
        return {"severe": 0.4, "standard": 0.3, "weak": 0.3}
    if not isinstance(chances, list) or len(chances) != len(names):
        chances = [1 / len(names)] * len(names)
    levels = [next((level for level in LEVELS if str(name).startswith(level)), str(name)) for name in names]
    return dict(zip(levels, map(float, chances), strict=True))


def _use_recipe(
    changed: dict[str, Any], dataset: dict[str, Any], weights: dict[str, float], reasons: dict[KeyPath, str]
) -> None:
    """Make the training set one that degrades by the recipe, from sharpened images, and cuts its borders."""
    if "meta_info" in dataset:
        del dataset["meta_info"]
        reasons["datasets", "train", "meta_info"] = _LISTED
    size = dataset.get("gt_size") or 256
    if "gt_size" in changed:
        size = changed.pop("gt_size") or size
        reasons["gt_size",] = "it is datasets.train.crop_size"
    sharpen = {"type": "USMSharpen"}
    recipe = {"type": "dasr_liang", "weights": weights, "legacy": True}
    dataset |= {
        "type": "DegradedImageDataset",
        "degradation": {"type": "Sequence", "steps": [sharpen, recipe]},
        "target": dict(sharpen),
        "gt_size": max(GT_SIZE, size),
        "crop_size": size,
        "degrade_on": "device",
    }


def _joint_training(changed: dict[str, Any], reasons: dict[KeyPath, str]) -> None:
    """One optimizer for predictor and restorer is one of the same settings for each."""
    train = changed.get("train")
    if not isinstance(train, dict):
        return
    train["legacy"] = True
    if train.pop("cycle_opt", None) is not None:
        reasons["train", "cycle_opt"] = "the published code never computes it"
    if "optim_g" in train:
        train.setdefault("optim_p", copy.deepcopy(train["optim_g"]))


def _is_plugins(registry: Any, name: str) -> bool:
    """Whether a name of a registry comes from a plugin."""
    try:
        return bool(registry.origin_of(registry.get(name)) == "plugin")
    except UnknownNameError:
        return False
