"""Up, process, down: restore the enlarged image and reduce the result."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from uir.inference.controls import Control
from uir.inference.strategies import Restore, Strategy, enlarged, windows
from uir.registry import STRATEGIES

if TYPE_CHECKING:
    from uir.inference.predictor import Whole

_LOBES = 3


@STRATEGIES.register()
class UpProcessDown(Strategy):
    """Restores the image at n times its size (bicubic), and reduces the result to the usual size (Lanczos).

    A network sees the structures of the image larger, nearer to those of its training images. Both filters work on
    bands of rows; the result is the same with tiles.
    """

    order: ClassVar[int] = 10
    controls: ClassVar[tuple[Control, ...]] = (
        Control("upscale", "int", "Restore the image at this many times its size, and reduce it.", 1, low=1, high=8),
    )

    def rows(self, restore: Restore, whole: Whole) -> Iterator[Tensor]:
        """The reduced rows of the restored, enlarged images."""
        factor: int = self.values["upscale"]
        height, width = whole.size
        large = replace(
            whole,
            read=enlarged(whole.read, whole.size, factor),
            size=(height * factor, width * factor),
            batch={name: _enlarged_value(value, whole.size, factor) for name, value in whole.batch.items()},
        )
        bands = restore(large)
        for pixels, _, own in windows(bands, 4 * factor, height * factor * self.scale, factor):
            yield reduced(pixels, factor)[..., own.start // factor : own.stop // factor, :]


def _enlarged_value(value: Any, size: tuple[int, int], factor: int) -> Any:
    """An entry of the batch; enlarged if it is a map with a value for each pixel."""
    if isinstance(value, Tensor) and value.ndim == 4 and tuple(value.shape[-2:]) == size and value.is_floating_point():
        return F.interpolate(value, scale_factor=factor, mode="bicubic")
    return value


def reduced(image: Tensor, factor: int) -> Tensor:
    """Reduce [B, C, H, W] to [B, C, H/factor, W/factor] by a Lanczos filter of three lobes, as Pillow does.

    At the border the filter is cut, and what is left of it sums to 1.
    """
    offsets = torch.arange(-_LOBES * factor, (_LOBES + 1) * factor, dtype=torch.float64)
    place = (offsets + 0.5 - factor / 2) / factor
    weights = torch.where(place.abs() < _LOBES, torch.sinc(place) * torch.sinc(place / _LOBES), 0.0)
    planes = image.float().reshape(-1, 1, *image.shape[-2:])
    for axis in (-2, -1):
        planes = _filtered(planes, weights.to(planes), factor, axis)
    return planes.reshape(*image.shape[:2], *planes.shape[-2:])


def _filtered(planes: Tensor, weights: Tensor, factor: int, axis: int) -> Tensor:
    count = math.ceil(planes.shape[axis] / factor)
    pad, stride = [0, 0], [1, 1]
    pad[axis], stride[axis] = _LOBES * factor, factor
    kernel = weights[None, None, :, None] if axis == -2 else weights[None, None, None, :]
    sums = F.conv2d(planes, kernel, stride=stride, padding=pad)
    line = torch.ones_like(planes[:1].narrow(-1 if axis == -2 else -2, 0, 1))
    total = F.conv2d(line, kernel, stride=stride, padding=pad)
    return (sums / total).narrow(axis, 0, count)
