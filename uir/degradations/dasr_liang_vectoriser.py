"""The 33 numbers that describe a degradation in DASR (Liang et al., ECCV 2022)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uir.degradations.record import MARK, DegradationRecord, RecordBatch, Step
from uir.degradations.targets import Targets
from uir.registry import VECTORISERS

LENGTH, SCALE = 33, 4
MODES = ("area", "bilinear", "bicubic")
SIDES, OMEGAS, ANGLES = (7.0, 21.0), (math.pi / 3, math.pi), (-180.0, 180.0)
Range = tuple[float, float]

# ranges of the published training file: of each stage by what is drawn
_SEVERE_SECOND: dict[str, Range] = {
    "sigma": (0.2, 1.5), "scale": (0.3, 1.2), "gaussian": (1, 25), "poisson": (0.05, 2.5), "quality": (30, 95)
}  # fmt: skip
LEVEL_RANGES: dict[str, dict[str, dict[str, Range]]] = {
    "weak": {
        "first": {
            "sigma": (0.2, 0.8), "scale": (0.85, 1.2), "gaussian": (1, 10), "poisson": (0.05, 0.5), "quality": (90, 95)
        }
    },
    "standard": {
        "first": {
            "sigma": (0.2, 1.5), "scale": (0.5, 1.2), "gaussian": (1, 20), "poisson": (0.05, 1.5), "quality": (50, 95)
        }
    },
    "severe": {
        "first": {
            "sigma": (0.2, 3), "scale": (0.15, 1.5), "gaussian": (1, 30), "poisson": (0.05, 3), "quality": (30, 95)
        },
        "second": _SEVERE_SECOND,
        "final": _SEVERE_SECOND,
    },
}  # fmt: skip
ABSOLUTE: dict[str, Range] = {
    "sigma": (0.0, 3.0), "scale": (0.0, 1.5), "gaussian": (0.0, 30.0), "poisson": (0.0, 3.0), "quality": (0.0, 100.0)
}  # fmt: skip
"""One scale for all levels, so that a number means the same in each of them."""


@dataclass(frozen=True)
class Knob:
    """A quantity of a record that one may turn by hand.

    Attributes:
        places: its places in the 33 numbers.
        what: key of the ranges.
        stage: of the recipe, `first`, `second` or `final`.
        ends: lowest and highest value, in the record's unit.
        help: what it is, and its unit.
        kind: places of 1 and 0 that say which kind the quantity is of.
    """

    places: tuple[int, ...]
    what: str
    stage: str
    ends: Range
    help: str
    kind: tuple[tuple[int, float], ...] = ()


KNOBS: dict[str, Knob] = {
    "blur_sigma": Knob((1, 2), "sigma", "first", ABSOLUTE["sigma"], "a blur of this σ in pixels"),
    "blur_sigma_2": Knob((5, 6), "sigma", "second", ABSOLUTE["sigma"], "a second blur of this σ in pixels"),
    "noise": Knob(
        (18,), "gaussian", "first", ABSOLUTE["gaussian"], "Gaussian noise of this σ out of 255", ((20, 1), (21, 0))
    ),
    "noise_2": Knob(
        (22,), "gaussian", "second", ABSOLUTE["gaussian"], "later Gaussian noise of this σ out of 255",
        ((24, 1), (25, 0)),
    ),
    "poisson_scale": Knob(
        (18,), "poisson", "first", ABSOLUTE["poisson"], "Poisson noise of this scale", ((20, 0), (21, 1))
    ),
    "resize_scale": Knob((10,), "scale", "first", ABSOLUTE["scale"], "been resized by this factor"),
    "quality": Knob((26,), "quality", "first", ABSOLUTE["quality"], "been through JPEG of this quality"),
    "quality_2": Knob((27,), "quality", "final", ABSOLUTE["quality"], "been through a last JPEG of this quality"),
}  # fmt: skip
"""The quantities that a user may set, by name; the units are those of the record."""
STRENGTH = "strength"
_CLEANEST = {"blur_sigma": 0.0, "blur_sigma_2": 0.0, "noise": 0.0, "noise_2": 0.0, "quality": 100.0, "quality_2": 100.0}
_WORST = {"blur_sigma": 3.0, "blur_sigma_2": 1.5, "noise": 30.0, "noise_2": 25.0, "quality": 30.0, "quality_2": 30.0}


def turned(numbers: Tensor, knobs: Mapping[str, float], legacy: bool = False) -> Tensor:
    """The 33 numbers [B, 33], some of them set by hand.

    Args:
        numbers: as the predictor estimates them.
        knobs: values of `KNOBS` in their units. `strength` sets those of blur, noise and JPEG together, from a clean
            image (0) to the worst of the severe level (1); knobs that are set too have priority.
        legacy: whether the numbers are normalised as published; the ranges are then the severe level's.

    Raises:
        ValueError: there is no such knob, or there are not 33 numbers.
    """
    unknown = [name for name in knobs if name not in KNOBS and name != STRENGTH]
    if unknown or numbers.shape[-1] != LENGTH:
        problem = f"there is no knob '{unknown[0]}'" if unknown else f"expected 33 numbers, got {numbers.shape[-1]}"
        raise ValueError(f"dasr_liang: {problem}; the knobs are {', '.join(KNOBS)} and {STRENGTH}")
    values: dict[str, float] = {}
    if STRENGTH in knobs:
        share = float(knobs[STRENGTH])
        values = {name: _CLEANEST[name] + share * (_WORST[name] - _CLEANEST[name]) for name in _WORST}
    values |= {name: float(value) for name, value in knobs.items() if name != STRENGTH}
    changed = numbers.clone()
    for name, value in values.items():
        knob = KNOBS[name]
        ends = LEVEL_RANGES["severe"][knob.stage][knob.what] if legacy else ABSOLUTE[knob.what]
        changed[..., list(knob.places)] = _normalised(value, ends)
        for place, share in knob.kind:
            changed[..., place] = share
    return changed


@VECTORISERS.register(name="dasr_liang")
class DASRLiangVector:
    """Blur, resize, noise, JPEG and the final steps of the `dasr_liang` recipe as 33 numbers. Values [B, 33].

    0-9 blur: side, σx, σy, angle of the first blur, the same of the second, side and cutoff of the sinc; 10-17 resize:
    scale and mode (area, bilinear, bicubic), twice; 18-25 noise: strength, grey, Gaussian or Poisson, twice; 26-32:
    qualities of the two JPEGs, order of the end (resize first, JPEG first), mode of the final resize. The scale of the
    second resize is relative to the small image.

    By default all levels share one scale for each number, and numbers that a record lacks are masked. `legacy` works as
    published: each level has its own ranges; a missing number is 0 and counts (the sinc's numbers: -0.5); a skipped
    second blur is described all the same, and one that was applied sets the sinc's cutoff to 1; only an unknown history
    is masked.

    Args:
        legacy: as published.
    """

    def __init__(self, legacy: bool = False) -> None:
        self.legacy = legacy

    def __call__(self, records: RecordBatch) -> Targets:
        """See the class.

        Raises:
            ValueError: a record is not of this recipe.
        """
        rows = [self._row(record) for record in records]
        values = torch.tensor([[0.0 if value is None else value for value in row] for row in rows])
        if self.legacy:
            mask = torch.tensor([[record.is_known] * LENGTH for record in records])
        else:
            mask = torch.tensor([[value is not None for value in row] for row in rows])
        return Targets(values, mask)

    def _row(self, record: DegradationRecord) -> list[float | None]:
        row: list[float | None] = [None] * LENGTH
        if record.steps is None:
            return row
        parts = _parts(record)
        second_blur = "second" in parts.blurs
        if self.legacy and parts.skipped:
            parts.blurs["second"] = parts.skipped[0]
        self._describe(row, parts)
        if self.legacy and parts.level == "severe":
            if parts.sinc is None:
                row[8] = row[9] = -0.5
            if second_blur:
                row[9] = 1.0
        return row

    def _describe(self, row: list[float | None], parts: _Parts) -> None:
        for start, name in ((0, "first"), (4, "second")):
            if name in parts.blurs:
                row[start : start + 4] = self._blur(parts, name)
        if parts.sinc is not None:
            row[8] = _normalised(parts.sinc["kernel_size"], SIDES)
            row[9] = _normalised(parts.sinc["omega_rad"], OMEGAS)
        for start, name in ((10, "first"), (14, "second")):
            if name in parts.resizes:
                step = parts.resizes[name]
                row[start] = _normalised(parts.relative_scale(name), self._range(parts, name, "scale"))
                row[start + 1 : start + 4] = _one_hot(step["mode"], MODES)
        for start, name in ((18, "first"), (22, "second")):
            if name in parts.noises:
                row[start : start + 4] = self._noise(parts, name)
        for index, name in ((26, "first"), (27, "final")):
            if name in parts.codecs:
                row[index] = _normalised(parts.codecs[name]["quality"], self._range(parts, name, "quality"))
        if parts.resize_is_first is not None:
            row[28:30] = [float(parts.resize_is_first), float(not parts.resize_is_first)]
        if "final" in parts.resizes:
            row[30:33] = _one_hot(parts.resizes["final"]["mode"], MODES)

    def _range(self, parts: _Parts, name: str, what: str) -> Range:
        return LEVEL_RANGES[parts.level][name][what] if self.legacy else ABSOLUTE[what]

    def _blur(self, parts: _Parts, name: str) -> list[float | None]:
        step = parts.blurs[name]
        widths = self._range(parts, name, "sigma")
        sigma_x = step.get("sigma_x_px", step.get("sigma_px"))
        sigma_y = step.get("sigma_y_px", step.get("sigma_px"))
        angle = (step.get("angle_deg", 0.0) + 180) % 360 - 180
        return [
            _normalised(step["kernel_size"], SIDES),
            _normalised(sigma_x, widths),
            _normalised(sigma_y, widths),
            _normalised(angle, ANGLES),
        ]

    def _noise(self, parts: _Parts, name: str) -> list[float | None]:
        step = parts.noises[name]
        gaussian = step["op"] == "GaussianNoise"
        strength = step["sigma_255"] if gaussian else step["scale"]
        level = _normalised(strength, self._range(parts, name, "gaussian" if gaussian else "poisson"))
        return [level, float(step["grey"]), float(gaussian), float(not gaussian)]


class _Parts:
    """The steps of a record, by kind and stage."""

    def __init__(self) -> None:
        self.level = ""
        self.blurs: dict[str, Step] = {}
        self.resizes: dict[str, Step] = {}
        self.noises: dict[str, Step] = {}
        self.codecs: dict[str, Step] = {}
        self.sinc: Step | None = None
        self.skipped: list[Step] = []
        self.resize_is_first: bool | None = None

    def relative_scale(self, name: str) -> float:
        """The scale as drawn: the first resize is relative to the image, the second relative to the small image."""
        return float(self.resizes[name]["scale"]) * (SCALE if name == "second" else 1)


_KINDS = {
    "IsotropicGaussianBlur": "blurs",
    "AnisotropicGaussianBlur": "blurs",
    "Resize": "resizes",
    "GaussianNoise": "noises",
    "PoissonNoise": "noises",
    "JPEG": "codecs",
    "DiffJPEG": "codecs",
}


def _parts(record: DegradationRecord) -> _Parts:
    parts = _Parts()
    for step in record.steps or ():
        if step["op"] == MARK:
            parts.level = step.get("level", parts.level)
            parts.skipped += step.get("skipped", [])
        elif step["op"] == "SincFilter":
            parts.sinc = step
        elif step["op"] in _KINDS and "stage" in step:
            getattr(parts, _KINDS[step["op"]])[step["stage"]] = step
            if step["stage"] == "final" and parts.resize_is_first is None and parts.level == "severe":
                parts.resize_is_first = step["op"] == "Resize"
        elif step["op"] not in ("Quantise", "USMSharpen"):  # the published recipe degrades sharpened images
            raise ValueError(f"DASRLiangVector: the step {_named(step)} is not part of the recipe `dasr_liang`")
    if parts.level not in LEVEL_RANGES or "final" not in parts.resizes:
        raise ValueError(f"DASRLiangVector: a record of {record.ops} does not come from the recipe `dasr_liang`")
    return parts


def _named(step: Mapping[str, Any]) -> str:
    return f"{step['op']} of stage {step['stage']!r}" if "stage" in step else f"{step['op']} without a stage"


def _normalised(value: Any, ends: Range) -> float:
    return (float(value) - ends[0]) / (ends[1] - ends[0])


def _one_hot(name: str, names: tuple[str, ...]) -> list[float | None]:
    return [float(name == other) for other in names]
