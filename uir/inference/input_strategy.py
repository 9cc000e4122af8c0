"""Strategies that go back to the input: everywhere in part, or wholly where the result has artefacts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from uir.inference.controls import Control
from uir.inference.strategies import Restore, Strategy, enlarged, windows
from uir.registry import STRATEGIES

if TYPE_CHECKING:
    from uir.inference.predictor import Whole

_RADIUS, _SIGMA = 5, 1.5  # of the Gaussian window, in pixels
_C = 0.03**2  # SSIM's second constant, for values in [0, 1]


@STRATEGIES.register()
class InputBlend(Strategy):
    """Blends the result with the input: `fidelity` 0 is the network's result, 1 the (enlarged) input."""

    order: ClassVar[int] = 40
    controls: ClassVar[tuple[Control, ...]] = (
        Control("fidelity", "float", "Share of the input in the result.", 0.0, low=0, high=1),
    )

    def rows(self, restore: Restore, whole: Whole) -> Iterator[Tensor]:
        """The blended rows."""
        read, top = enlarged(whole.read, whole.size, self.scale), 0
        for band in restore(whole):
            rows = slice(top, top + band.shape[-2])
            yield band.lerp(read(rows, slice(0, band.shape[-1])).to(band), self.values["fidelity"])
            top = rows.stop


@STRATEGIES.register()
class ArtefactMask(Strategy):
    """Takes the input where the result has local contrast that the input lacks, as generative networks invent it.

    The measure is DeSRA's (Xie et al., ICML 2023, equation 3): D = (2·σ1·σ2 + C) / (σ1² + σ2² + C) of the deviations in
    Gaussian windows of 11 pixels, the mean over the channels; so is what follows: one erosion and three dilations by
    5×5, holes closed by 3×3, small areas dropped. DeSRA compares with another network's result and takes both signs;
    compared with a degraded input, only *more* contrast than that is a sign of an artefact. Haze and low light lack
    contrast everywhere: leave the mask off for them. It keeps the whole result in memory.
    """

    order: ClassVar[int] = 30
    controls: ClassVar[tuple[Control, ...]] = (
        Control(
            "artefacts", "float", "Take the input where D is below this number; DeSRA has 0.7.", 0.0, low=0, high=1
        ),
        Control("artefact_area", "int", "Leave areas of up to this many pixels as they are.", 4000, low=0),
    )

    def rows(self, restore: Restore, whole: Whole) -> Iterator[Tensor]:
        """The restored rows, with the input in the masked areas."""
        height, width = (length * self.scale for length in whole.size)
        read = enlarged(whole.read, whole.size, self.scale)
        kept, marked = [], []
        for pixels, rows, own in windows(restore(whole), _RADIUS, height):
            seen = slice(rows.start - own.start, rows.start - own.start + pixels.shape[-2])
            similarity = excess_contrast(pixels, read(seen, slice(0, width)).to(pixels))
            kept.append(pixels[..., own, :].clone())
            marked.append(similarity[:, own] < self.values["artefacts"])
        mask = areas(torch.cat(marked, -2), self.values["artefact_area"])
        top = 0
        for band in kept:
            rows = slice(top, top + band.shape[-2])
            yield band.lerp(read(rows, slice(0, width)).to(band), mask[:, None, rows])
            top = rows.stop


def excess_contrast(restored: Tensor, lq: Tensor) -> Tensor:
    """DeSRA's D [B, H, W] of images [B, C, H, W] in [0, 1]; 1 where the input has the more contrast of the two."""
    deviations = [_local_variance(image).sqrt() for image in (restored, lq)]
    own, other = deviations
    similarity = ((2 * own * other + _C) / (own.square() + other.square() + _C)).mean(1)
    return torch.where(own.mean(1) > other.mean(1), similarity, 1.0)


def areas(marked: Tensor, smallest: int) -> Tensor:
    """The areas [B, H, W] in [0, 1] that marked pixels form, with soft borders.

    Args:
        marked: bool [B, H, W].
        smallest: areas of up to this many pixels are dropped.
    """
    square, small = np.ones((5, 5), np.uint8), np.ones((3, 3), np.uint8)
    masks = []
    for image in marked.numpy().astype(np.uint8):
        image = cv2.dilate(cv2.erode(image, square), square, iterations=3)
        image = cv2.morphologyEx(image, cv2.MORPH_CLOSE, small)
        _, labels, statistics, _ = cv2.connectedComponentsWithStats(image, connectivity=8)
        is_large = statistics[:, cv2.CC_STAT_AREA] > smallest
        is_large[0] = False  # the ground
        masks.append(torch.from_numpy(is_large[labels].astype(np.float32)))
    return _smoothed(torch.stack(masks)[:, None])[:, 0].clamp(0, 1)


def _local_variance(image: Tensor) -> Tensor:
    return (_smoothed(image.square()) - _smoothed(image).square()).clamp_min(0)


def _smoothed(image: Tensor) -> Tensor:
    """The mean in Gaussian windows; the border pixel continues outside."""
    place = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float64)
    line = torch.exp(-0.5 * (place / _SIGMA).square())
    line = (line / line.sum()).to(image)
    planes = F.pad(image.reshape(-1, 1, *image.shape[-2:]), (_RADIUS,) * 4, mode="replicate")
    planes = F.conv2d(F.conv2d(planes, line[None, None, :, None]), line[None, None, None, :])
    return planes.reshape(image.shape)
