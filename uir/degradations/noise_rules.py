"""How published tests make their Gaussian noise: the same σ gives other images where noise is clipped or rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Rounding = Literal["none", "round", "truncate"]


@dataclass(frozen=True)
class NoiseRule:
    """How white Gaussian noise is added to a clean image for a test.

    Attributes:
        clip: clip the noisy image to [0, 1].
        rounding: `none` keeps floats, `round` gives whole grey levels, `truncate` drops what is behind the point, as
            numpy's cast to uint8 does. Both of the last need `clip`.
        numpy_seed: each image gets the field of numpy's generator with this seed, in OpenCV's order (height, width,
            blue to red), so that images of one size share a field; None gives each image a field of its own.
    """

    clip: bool
    rounding: Rounding = "none"
    numpy_seed: int | None = None

    def describe(self) -> str:
        """The rule in a few words: `clipped, cut to 8 bits, a field for each image`."""
        rounding = {"none": "not rounded", "round": "rounded to 8 bits", "truncate": "cut to 8 bits"}[self.rounding]
        fields = "a field for each image" if self.numpy_seed is None else f"numpy's field of seed {self.numpy_seed}"
        return f"{'clipped' if self.clip else 'not clipped'}, {rounding}, {fields}"

    def finish(self, noisy: Tensor) -> Tensor:
        """Clip and round a noisy image in [0, 1] as the rule says; a new tensor."""
        image = noisy.clamp(0, 1) if self.clip else noisy.clone()
        if self.rounding == "none":
            return image
        # 1e-4 grey levels: a whole level divided by 255 and multiplied again may be a little less than itself
        levels = (image * 255).round() if self.rounding == "round" else (image * 255 + 1e-4).floor()
        return levels / 255

    def fault_of(self, image: Tensor) -> str:
        """What shows that a noisy image [..., H, W] was not made by this rule; an empty text where nothing does."""
        levels = image.double() * 255
        whole = bool((levels - levels.round()).abs().max() < 1e-3)
        outside = bool(levels.min() < -1e-3 or levels.max() > 255 + 1e-3)
        if self.clip and outside:
            return "is not clipped"
        if whole != (self.rounding != "none"):
            return "is rounded to 8 bits" if whole else "is not rounded to 8 bits"
        return ""


NOISE_RULES = {
    "dcpt": NoiseRule(clip=False, numpy_seed=0),
    "maskdcpt": NoiseRule(clip=True, numpy_seed=0),
    "promptir": NoiseRule(clip=True, rounding="truncate"),
    "blindsr_y": NoiseRule(clip=True, rounding="round"),
}
"""By protocol. PromptIR draws one numpy stream (seed 0) over the images in the order of the folder's listing, which
differs between file systems; here each image has its own field instead."""


def numpy_field(seed: int, channels: int, height: int, width: int) -> Tensor:
    """Standard normal float64 [C, H, W] of numpy's older generator, drawn for OpenCV's arrays [H, W, blue to red]."""
    import numpy as np

    field = np.random.RandomState(seed).normal(0, 1, (height, width, channels))
    return torch.from_numpy(field).permute(2, 0, 1).flip(0)
