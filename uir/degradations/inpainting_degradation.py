"""Hidden parts of an image: lines, strokes and boxes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image
from uir.degradations.field_files import FieldFiles, read_field
from uir.degradations.fields import uniform
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

MASKS = "InpaintingStrokes.masks"
BLACK_OR_WHITE: dict[str, list[float]] = {"choice": [0.0, 1.0]}
SHARPEST_TURN = 2 * math.pi / 5
NOMINAL_SIDE = 256  # pixels: `severity` assumes an image of this side


@DEGRADATION_REGISTRY.register()
class InpaintingLines(Degradation):
    """Straight lines that hide the image: I = J·(1 − M) + fill·M (DCPT, Hu et al., ICLR 2025, and its ranges).

    Args:
        lines: number of lines; each connects two random points.
        width: in whole pixels, at least 1; ends are round.
        fill: the grey value in [0, 1] of hidden pixels; black or white by default.
    """

    family: ClassVar[str] = "occlusion"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"lines": 5, "width": 5},
        {"lines": 10, "width": 10},
        {"lines": 15, "width": 15},
    )

    def __init__(self, lines: Numbers = (5, 10), width: Numbers = (5, 10), fill: Numbers | None = None) -> None:
        self.lines = Values.of("InpaintingLines.lines", lines, 0, integer=True)
        self.width = Values.of("InpaintingLines.width", width, 1, integer=True)
        self.fill = Values.of("InpaintingLines.fill", BLACK_OR_WHITE if fill is None else fill, 0, 1)

    def sample(self, seed: int, size: Size) -> Params:
        """`lines`, `width_px`, `fill` and `seed`."""
        return {
            "lines": int(self.lines.draw(seed)),
            "width_px": int(self.width.draw(seed)),
            "fill": self.fill.draw(seed),
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "InpaintingLines")
        return hidden(image, line_mask(params, (image.shape[-2], image.shape[-1])), params["fill"])

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Summed width of all lines, divided by 256 px."""
        return float(min(1.0, params["lines"] * params["width_px"] / NOMINAL_SIDE))


@DEGRADATION_REGISTRY.register()
class InpaintingStrokes(Degradation):
    """Free-form strokes that hide the image: I = J·(1 − M) + fill·M (after Yu et al., ICCV 2019).

    A stroke starts at a random point in a random direction and turns by up to 72° from one segment to the next.

    Args:
        strokes: number of strokes.
        segments: straight parts per stroke, at least 1.
        length: length of a segment in pixels, at least 1.
        width: in whole pixels, at least 1; ends and corners are round.
        fill: the grey value in [0, 1] of hidden pixels; black or white by default.
        masks: a mask, or a folder of them, that replaces the strokes: grey images or `.npy` arrays [H, W] in [0, 1],
                resized to the image; values of at least 0.5 are hidden. The record contains the file's name.
    """

    family: ClassVar[str] = "occlusion"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"strokes": 2, "segments": 5, "length": 40, "width": 12},
        {"strokes": 5, "segments": 6, "length": 40, "width": 16},
        {"strokes": 10, "segments": 8, "length": 40, "width": 24},
    )

    def __init__(
        self,
        strokes: Numbers = (1, 6),
        segments: Numbers = (4, 12),
        length: Numbers = (10.0, 40.0),
        width: Numbers = (8, 24),
        fill: Numbers | None = None,
        masks: Path | None = None,
    ) -> None:
        self.strokes = Values.of("InpaintingStrokes.strokes", strokes, 0, integer=True)
        self.segments = Values.of("InpaintingStrokes.segments", segments, 1, integer=True)
        self.length = Values.of("InpaintingStrokes.length", length, 1)
        self.width = Values.of("InpaintingStrokes.width", width, 1, integer=True)
        self.fill = Values.of("InpaintingStrokes.fill", BLACK_OR_WHITE if fill is None else fill, 0, 1)
        self.masks = FieldFiles.of(MASKS, masks)

    def sample(self, seed: int, size: Size) -> Params:
        """`fill`, and `mask_file` or `strokes`, `segments`, `length_px`, `width_px` and `seed`."""
        params: Params = {"fill": self.fill.draw(seed)}
        if self.masks is not None:
            return {**params, "mask_file": self.masks.draw(seed)}
        return {
            **params,
            "strokes": int(self.strokes.draw(seed)),
            "segments": int(self.segments.draw(seed)),
            "length_px": self.length.draw(seed),
            "width_px": int(self.width.draw(seed)),
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "InpaintingStrokes")
        return hidden(image, stroke_mask(params, (image.shape[-2], image.shape[-1])), params["fill"])

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Hidden fraction: the mean of a mask, or the expected value for such strokes on an image of 256×256."""
        if "mask_file" in params:
            return float((read_field(MASKS, params["mask_file"]) >= 0.5).double().mean())
        inked = params["strokes"] * params["segments"] * params["length_px"] * params["width_px"]
        return float(1 - math.exp(-inked / NOMINAL_SIDE**2))


@DEGRADATION_REGISTRY.register()
class InpaintingBoxes(Degradation):
    """Boxes that hide the image: I = J·(1 − M) + fill·M, at random places (Pathak et al., CVPR 2016, random blocks).

    Args:
        boxes: number of boxes; they may overlap. Each has the image's proportions.
        area: area of each box, as a fraction of the image's, in [0, 1].
        fill: the grey value in [0, 1] of hidden pixels; black or white by default.
    """

    family: ClassVar[str] = "occlusion"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"boxes": 1, "area": 0.05},
        {"boxes": 3, "area": 0.1},
        {"boxes": 6, "area": 0.12},
    )

    def __init__(self, boxes: Numbers = 1, area: Numbers = (0.05, 0.25), fill: Numbers | None = None) -> None:
        self.boxes = Values.of("InpaintingBoxes.boxes", boxes, 0, integer=True)
        self.area = Values.of("InpaintingBoxes.area", area, 0, 1)
        self.fill = Values.of("InpaintingBoxes.fill", BLACK_OR_WHITE if fill is None else fill, 0, 1)

    def sample(self, seed: int, size: Size) -> Params:
        """`boxes`, `area`, `fill` and `seed`."""
        return {
            "boxes": int(self.boxes.draw(seed)),
            "area": self.area.draw(seed),
            "fill": self.fill.draw(seed),
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "InpaintingBoxes")
        return hidden(image, box_mask(params, (image.shape[-2], image.shape[-1])), params["fill"])

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Hidden fraction, the expected value for boxes with random overlaps."""
        return float(1 - (1 - params["area"]) ** params["boxes"])


def hidden(image: Tensor, mask: Tensor, fill: float) -> Tensor:
    """The image with `fill` where the mask, bool [1, H, W] on the CPU, is true."""
    return torch.where(mask.to(image.device), fill, image).clamp_(0, 1)


def line_mask(params: Mapping[str, Any], size: Size) -> Tensor:
    """M of `InpaintingLines`, bool [1, H, W] on the CPU."""
    ends = uniform(params, params["lines"], 2, 2).double().numpy() * (size[1] - 1, size[0] - 1)
    return _drawn(ends, params["width_px"], size)


def stroke_mask(params: Mapping[str, Any], size: Size) -> Tensor:
    """M of `InpaintingStrokes`, bool [1, H, W] on the CPU."""
    if "mask_file" in params:
        return read_field(MASKS, params["mask_file"], size) >= 0.5
    strokes, segments = params["strokes"], params["segments"]
    starts = uniform(params, strokes, 1, 2, stream="starts").double().numpy() * (size[1] - 1, size[0] - 1)
    turns = uniform(params, strokes, segments, stream="turns").double().numpy() * 2 - 1
    headings = np.cumsum(turns * ([math.pi] + [SHARPEST_TURN] * (segments - 1)), axis=1)
    steps = params["length_px"] * np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    return _drawn(np.concatenate([starts, starts + np.cumsum(steps, axis=1)], axis=1), params["width_px"], size)


def box_mask(params: Mapping[str, Any], size: Size) -> Tensor:
    """M of `InpaintingBoxes`, bool [1, H, W] on the CPU; boxes around random points, moved into the image."""
    mask = torch.zeros(1, *size, dtype=torch.bool)
    sides = [round(math.sqrt(params["area"]) * length) for length in size]
    for place in uniform(params, params["boxes"], 2).tolist():
        top, left = (
            min(max(int(share * length) - side // 2, 0), length - side)
            for share, length, side in zip(place, size, sides, strict=True)
        )
        mask[:, top : top + sides[0], left : left + sides[1]] = True
    return mask


def _drawn(points: np.ndarray, width_px: int, size: Size) -> Tensor:
    """Polygonal lines with round ends as a mask; `points` (x, y) in pixels, [lines, corners, 2]."""
    mask = np.zeros(size, bool)  # not with OpenCV, which draws a line of 9 pixels 11 wide
    radius = width_px / 2
    for line in points:
        for (x0, y0), (x1, y1) in itertools.pairwise(line.tolist()):
            top, left = (max(0, math.floor(min(ends) - radius)) for ends in ((y0, y1), (x0, x1)))
            bottom, right = (math.ceil(max(ends) + radius) + 1 for ends in ((y0, y1), (x0, x1)))
            window = mask[top : max(top, bottom), left : max(left, right)]
            y = np.arange(top, top + window.shape[0])[:, None] - y0
            x = np.arange(left, left + window.shape[1]) - x0
            run, rise = x1 - x0, y1 - y0
            along = np.clip((x * run + y * rise) / max(run * run + rise * rise, 1e-12), 0, 1)
            window |= (x - along * run) ** 2 + (y - along * rise) ** 2 <= radius * radius
    return torch.from_numpy(mask)[None]
