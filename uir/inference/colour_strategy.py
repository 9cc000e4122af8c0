"""Colour fixes: give the restored image the colours of the degraded one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from uir.inference.controls import Control
from uir.inference.strategies import Restore, Strategy, enlarged, windows
from uir.inference.tiling import Read
from uir.registry import STRATEGIES

if TYPE_CHECKING:
    from uir.inference.predictor import Whole

_LEVELS = 5
_REACH = 2**_LEVELS - 1  # rows that the blur of all levels looks at
_EPS = 1e-5
_BAND = 256  # rows of the input whose sums are taken at once


@STRATEGIES.register()
class ColourFix(Strategy):
    """Takes a colour cast off the result, for images whose colours were right before.

    `wavelet` replaces the low frequencies of the result by those of the input. `adain` gives each channel of the result
    the mean and deviation of the input's. Both as in StableSR (Wang et al., IJCV 2024). For haze, low light and other
    degradations of the colours themselves, they take the restoration away again. `adain` keeps the whole result in
    memory, because it needs its mean before the first row is written.
    """

    order: ClassVar[int] = 20
    controls: ClassVar[tuple[Control, ...]] = (
        Control(
            "colour_fix", "choice", "Take the colours from the input.", "none", choices=("none", "wavelet", "adain")
        ),
    )

    def rows(self, restore: Restore, whole: Whole) -> Iterator[Tensor]:
        """The restored rows with the input's colours."""
        height, width = (length * self.scale for length in whole.size)
        read = enlarged(whole.read, whole.size, self.scale)
        bands = restore(whole)
        if self.values["colour_fix"] == "wavelet":
            for pixels, rows, own in windows(bands, _REACH, height):
                seen = slice(rows.start - own.start, rows.start - own.start + pixels.shape[-2])
                low = low_frequencies(read(seen, slice(0, width)).to(pixels) - pixels)
                yield (pixels + low)[..., own, :]
            return
        kept = list(bands)
        (mean, deviation), (goal, spread) = _statistics(iter(kept)), _statistics(_bands(read, height, width))
        for band in kept:
            yield (band - mean) / deviation * spread + goal


def low_frequencies(image: Tensor) -> Tensor:
    """[B, C, H, W] after five blurs by [1 2 1]⊗[1 2 1]/16 with dilations 1 to 16; the border pixel continues."""
    line = torch.tensor([0.25, 0.5, 0.25], dtype=image.dtype, device=image.device)
    kernel = (line[:, None] * line)[None, None].expand(image.shape[1], 1, 3, 3)
    for level in range(_LEVELS):
        step = 2**level
        padded = F.pad(image, (step, step, step, step), mode="replicate")
        image = F.conv2d(padded, kernel, dilation=step, groups=image.shape[1])
    return image


def _bands(read: Read, height: int, width: int) -> Iterator[Tensor]:
    for top in range(0, height, _BAND):
        yield read(slice(top, min(top + _BAND, height)), slice(0, width))


def _statistics(bands: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel of each image, [B, C, 1, 1]."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for band in bands:
        values = band.double()
        count += values.shape[-2] * values.shape[-1]
        total = total + values.sum((2, 3), keepdim=True)
        squares = squares + values.square().sum((2, 3), keepdim=True)
    mean = total / count
    deviation = ((squares / count - mean.square()).clamp_min(0) + _EPS).sqrt()
    return mean.float(), deviation.float()
