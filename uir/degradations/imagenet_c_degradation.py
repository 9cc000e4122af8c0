"""The corruptions of ImageNet-C at their five severities."""

from __future__ import annotations

import math
from typing import Any

from uir.degradations.preset import Preset, Spec
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

LEVELS = (1, 2, 3, 4, 5)


def _noise(sigma: float) -> Spec:
    return {"type": "GaussianNoise", "sigma": 255 * sigma}


def _shot(photons: float) -> Spec:
    return {"type": "PoissonNoise", "scale": 1, "log10_photons": math.log10(photons), "grey_probability": 0}


def _speckle(sigma: float) -> Spec:
    colour = {"grey_probability": 0, "correlated_probability": 0}
    return {"type": "SpeckleNoise", "sigma": 255 * sigma, **colour}


def _motion(radius: float, sigma: float) -> Spec:
    return {"type": "MotionBlur", "length": 2 * radius + 1, "sigma": sigma, "angle": [-45, 45]}


def _at_levels(kind: str) -> list[Spec]:
    return [{"type": kind, "level": level} for level in LEVELS]


def _with(kind: str, *names: str, values: list[tuple[float, ...]]) -> list[Spec]:
    return [{"type": kind, **dict(zip(names, row, strict=True))} for row in values]


CORRUPTIONS: dict[str, list[Spec]] = {
    "gaussian_noise": [_noise(sigma) for sigma in (0.08, 0.12, 0.18, 0.26, 0.38)],
    "shot_noise": [_shot(photons) for photons in (60, 25, 12, 5, 3)],
    "impulse_noise": _with("SaltAndPepper", "amount", values=[(0.03,), (0.06,), (0.09,), (0.17,), (0.27,)]),
    "speckle_noise": [_speckle(sigma) for sigma in (0.15, 0.2, 0.35, 0.45, 0.6)],
    "defocus_blur": _with("DefocusBlur", "radius", "alias", values=[(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)]),
    "glass_blur": _with(
        "GlassBlur", "sigma", "delta", "iterations",
        values=[(0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
    ),
    "motion_blur": [_motion(*pair) for pair in ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))],
    "zoom_blur": _with(
        "ZoomBlur", "zoom", "step", values=[(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)]
    ),
    "gaussian_blur": _with(
        "IsotropicGaussianBlur", "sigma", "kernel_size", values=[(1, 0), (2, 0), (3, 0), (4, 0), (6, 0)]
    ),
    "snow": _at_levels("ImageNetCSnow"),
    "frost": _at_levels("Frost"),
    "fog": _at_levels("Fog"),
    "spatter": _at_levels("Spatter"),
    "brightness": _with("Brightness", "shift", values=[(0.1,), (0.2,), (0.3,), (0.4,), (0.5,)]),
    "contrast": _with("Contrast", "factor", values=[(0.4,), (0.3,), (0.2,), (0.1,), (0.05,)]),
    "saturate": _with("Saturation", "factor", "offset", values=[(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)]),
    "elastic_transform": _with(
        "ElasticTransform", "alpha", "sigma", "affine",
        values=[(488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88)],
    ),
    "pixelate": _with("Pixelate", "scale", values=[(0.6,), (0.5,), (0.4,), (0.3,), (0.25,)]),
    "jpeg_compression": _with("JPEG", "quality", values=[(25,), (18,), (15,), (10,), (7,)]),
}  # fmt: skip
"""The published constants of each corruption, from mild to severe, for images of 224 px."""


@DEGRADATION_REGISTRY.register()
class imagenet_c(Preset):  # noqa: N801
    """One of ImageNet-C's nineteen corruptions at one of five severities (Hendrycks & Dietterich, ICLR 2019).

    The record contains the corruption as its label and the severity as a level. Frost is procedural here.

    Args:
        classes: names of the corruptions to choose from; default all.
        level: the severity, 1 to 5; default any.
    """

    def __init__(self, classes: list[str] | None = None, level: Numbers | None = None) -> None:
        chosen = list(CORRUPTIONS) if classes is None else list(classes)
        unknown = [name for name in chosen if name not in CORRUPTIONS]
        if unknown or not chosen:
            raise ValueError(f"imagenet_c.classes: got {classes!r}; expected some of {', '.join(CORRUPTIONS)}")
        self.labels = tuple(chosen)
        super().__init__({"type": "Task", "tasks": {name: _levels(CORRUPTIONS[name], level) for name in chosen}})


def _levels(severities: list[Spec], level: Numbers | None) -> Spec:
    weights: dict[str, Any] = dict.fromkeys(map(str, LEVELS), 1)
    if level is not None:
        values = Values.of("imagenet_c.level", level, 1, 5, integer=True)
        allowed = set(values.numbers)
        if values.kind == "uniform":
            allowed = set(range(int(values.numbers[0]), int(values.numbers[1]) + 1))
        weights = {name: float(int(name) in allowed) for name in weights}
    return {"type": "Level", "levels": dict(zip(map(str, LEVELS), severities, strict=True)), "weights": weights}
