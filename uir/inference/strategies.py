"""Strategies: ways to restore that need no weights and fit every predictor, such as the mean over flipped images.

A strategy is a plain class in the table `STRATEGIES`. Its controls are offered beside those of the predictor, in
`uir restore --set`, in `val.controls` and in Python; several strategies can be on at once. Each has two places where it
can act: around the network's run on a part of the image (`run`), and around the restored rows of the whole image
(`rows`). The rows come in bands, so that the memory does not grow with the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from uir.inference.controls import Control, read_controls
from uir.inference.tiling import Read
from uir.registry import STRATEGIES

if TYPE_CHECKING:
    from uir.inference.predictor import Place, Whole

Run = Callable[[Tensor, "Place"], Tensor]
"""Restores a part [B, 3, h, w] at its place."""
Restore = Callable[["Whole"], Iterator[Tensor]]
"""Restores whole images, in bands of rows [B, 3, rows, w·scale] on the CPU, not clipped."""

_MARGIN = 3  # pixels around a part that its bicubic enlargement depends on, rounded up


class Strategy:
    """One way to restore. A subclass is registered, and defines only the differences.

    Args:
        values: the values of its controls, all of them.
        scale: size of the restored image divided by that of the degraded one.
    """

    order: ClassVar[int] = 0
    """Strategies with a lower number are nearer to the network."""
    controls: ClassVar[tuple[Control, ...]] = ()
    """The values that a user can set; with the defaults, the strategy does nothing."""

    def __init__(self, values: Mapping[str, Any], scale: int = 1) -> None:
        self.values, self.scale = values, scale

    def run(self, run: Run, lq: Tensor, place: Place) -> Tensor:
        """Restore a part of the images, [B, 3, h, w] to [B, 3, h·scale, w·scale]."""
        return run(lq, place)

    def rows(self, restore: Restore, whole: Whole) -> Iterator[Tensor]:
        """Restore whole images, in bands of rows."""
        return restore(whole)


def offered(own: Sequence[Control]) -> tuple[Control, ...]:
    """All controls of a predictor: its own, and those of the strategies. Its own hide others of the same name."""
    names = {control.name for control in own}
    return (*own, *(c for cls in _classes() for c in cls.controls if c.name not in names))


def read_values(
    own: Sequence[Control], values: Mapping[str, Any], owner: str, scale: int = 1
) -> tuple[dict[str, Any], list[Strategy]]:
    """Divide what a user set: the values of the predictor's own controls, and the strategies that are on.

    Args:
        own: the predictor's controls.
        values: by name, as a user typed them or in their own type.
        owner: name of the predictor, for messages.
        scale: of the restored image.

    Raises:
        ValueError: there is no such control, or a value does not fit it.
    """
    read = read_controls(offered(own), values, owner)
    names = {control.name for control in own}
    strategies = []
    for cls in _classes():
        controls = [control for control in cls.controls if control.name not in names]
        chosen = {control.name: read.get(control.name, control.default) for control in controls}
        if any(chosen[control.name] != control.default for control in controls):
            strategies.append(cls({**{c.name: c.default for c in cls.controls}, **chosen}, scale))
    return {name: value for name, value in read.items() if name in names}, strategies


def wrapped(restore: Restore, strategies: Sequence[Strategy]) -> Restore:
    """A way to restore whole images, with strategies around it."""
    for strategy in strategies:
        restore = partial(strategy.rows, restore)
    return restore


def _classes() -> list[type[Strategy]]:
    return sorted((cls for _, cls in STRATEGIES), key=lambda cls: (cls.order, cls.__name__))


# what strategies share ------------------------------------------------------------------------------------------------


def enlarged(read: Read, size: tuple[int, int], factor: int) -> Read:
    """Read parts of images as if the images were `factor` times as large (bicubic); each part is that of the whole.

    Args:
        read: gives parts of the images.
        size: their height and width.
        factor: whole number.
    """
    if factor == 1:
        return read

    def read_enlarged(rows: slice, columns: slice) -> Tensor:
        cuts = [
            slice(max(place.start // factor - _MARGIN, 0), min(-(-place.stop // factor) + _MARGIN, length))
            for place, length in zip((rows, columns), size, strict=True)
        ]
        pixels = F.interpolate(read(*cuts).float(), scale_factor=factor, mode="bicubic")
        inner = [
            slice(place.start - cut.start * factor, min(place.stop, length * factor) - cut.start * factor)
            for place, cut, length in zip((rows, columns), cuts, size, strict=True)
        ]
        return pixels[..., inner[0], inner[1]]

    return read_enlarged


def windows(
    bands: Iterator[Tensor], reach: int, height: int, multiple: int = 1
) -> Iterator[tuple[Tensor, slice, slice]]:
    """Bands of rows together with the neighbouring rows that a filter needs.

    Args:
        bands: [B, C, rows, w]; all rows add up to `height`.
        reach: how many rows above and below the filter looks at, a multiple of `multiple`.
        height: number of rows of the image.
        multiple: windows and bands begin at multiples of this number.

    Yields:
        The window [B, C, h, w]; the image's rows that are the band's own; and where these are in the window.
    """
    kept: Tensor | None = None
    start = done = 0
    for band in bands:
        kept = band if kept is None else torch.cat([kept, band], -2)
        end = start + kept.shape[-2]
        until = end if end == height else max(end - reach, 0) // multiple * multiple
        if until <= done:
            continue
        yield kept[..., : until + reach - start, :], slice(done, until), slice(done - start, until - start)
        done = until
        first = max(done - reach, 0) - start
        kept, start = kept[..., first:, :].clone(), start + first
