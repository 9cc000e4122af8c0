"""Checks the first sample of a dataset that uir did not write, so that its mistakes show before training."""

from __future__ import annotations

import copy
import random
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset, default_collate

from uir.core.images import UnreadableImageError
from uir.data.loading import UNSTACKED
from uir.data.seeded import draw_sample, seeded_globals
from uir.registry import DATASET_REGISTRY

IMAGES = ("lq", "gt")
LARGEST = 16.0  # normalised images stay far below, and images in 0 to 255 far above
EXPECTED = "expected a float32 tensor [channels, height, width] with values around 0 to 1"


def check_first_sample(dataset: Any, is_training: bool) -> None:
    """Check the first sample of a plug-in's dataset; wrappers are looked into, and other datasets are passed over.

    The sample is drawn from a copy, with the global generators restored: the dataset gives the same samples as without.

    Args:
        dataset: any dataset.
        is_training: then `lq` or `gt` may be missing, because a method may need only one of them.

    Raises:
        ValueError: the sample cannot be drawn, is no mapping, lacks an image, or an image has another type, shape or
            range. The message names the class.
    """
    for own in _plugins_of(dataset):
        name = type(own).__name__
        try:
            with seeded_globals(0):
                sample = draw_sample(_spare(own), 0, 0)
        except (UnreadableImageError, OSError, cv2.error):
            continue  # a damaged file: training replaces it, and an evaluation names it
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
            raise ValueError(f"{name}: its first sample cannot be drawn: {reason}") from error
        problem = _problem(sample, is_training)
        if problem:
            raise ValueError(f"{name}: {problem}")


def _plugins_of(dataset: Any) -> Iterator[Any]:
    """The datasets of plug-ins in a dataset; basicsr's are known, and uir's check their first sample themselves."""
    if len(dataset) == 0:
        return
    if DATASET_REGISTRY.origin_of(type(dataset)) == "plugin" and not isinstance(dataset, Subset):
        yield dataset
        return
    inner = getattr(dataset, "datasets", None) or getattr(dataset, "dataset", None)
    for own in inner.values() if isinstance(inner, Mapping) else [inner] if inner is not None else []:
        yield from _plugins_of(own)


def _spare(dataset: Any) -> Any:
    """A copy with generators and dictionaries of its own: reading from it leaves the dataset as it is."""
    spare = copy.copy(dataset)
    for key, value in list(getattr(spare, "__dict__", {}).items()):
        if isinstance(value, random.Random | np.random.Generator | np.random.RandomState):
            setattr(spare, key, copy.deepcopy(value))
        elif isinstance(value, torch.Generator):
            setattr(spare, key, value.clone_state())
        elif isinstance(value, dict):  # BasicSR's datasets take the type out of `io_backend` when they first read
            setattr(spare, key, dict(value))
    return spare


def _problem(sample: Any, is_training: bool) -> str:
    """What is wrong with a sample; empty if nothing is."""
    if not isinstance(sample, Mapping):
        return f"a sample is a {type(sample).__name__}; expected a dictionary with `lq` and `gt`"
    missing = [key for key in IMAGES if key not in sample]
    if missing == list(IMAGES) or ("lq" in missing and not is_training):
        return f"a sample has {', '.join(map(str, sample)) or 'nothing'}, but not {missing[0]}; {EXPECTED}"
    for key in (key for key in sample if key not in UNSTACKED):
        try:
            default_collate([sample[key]])
        except TypeError:
            kind = type(sample[key]).__name__
            return f"`{key}` of a sample is a {kind}; expected a tensor, an array, a number or text"
        except (ValueError, RuntimeError) as error:  # such as an array with negative strides
            return f"`{key}` of a sample cannot become part of a batch: {error}"
    return next(filter(None, (_image_problem(key, sample[key]) for key in IMAGES if key in sample)), "")


def _image_problem(key: str, image: Any) -> str:
    value = torch.from_numpy(np.ascontiguousarray(image)) if isinstance(image, np.ndarray) else image
    said = f"`{key}` of a sample"
    if not isinstance(value, Tensor):
        return f"{said} is a {type(image).__name__}; {EXPECTED}"
    shape = list(value.shape)
    if value.dtype != torch.float32:
        return f"{said} is {str(value.dtype).removeprefix('torch.')} {shape}; {EXPECTED}"
    if value.ndim not in (3, 4) or 0 in shape or (value.ndim == 3 and shape[2] in (1, 3, 4) and shape[0] > 4):
        return f"{said} has the shape {shape}; {EXPECTED}"
    low, high = float(value.min()), float(value.max())
    if not -LARGEST <= low <= high <= LARGEST:  # false for NaN too
        return f"{said} has values from {low:g} to {high:g}; {EXPECTED}"
    return ""
