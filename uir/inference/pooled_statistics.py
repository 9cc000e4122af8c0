"""One global statistic for all tiles of an image.

A network that pools over its whole input, as NAFNet's channel attention does, or attends between channels, as Restormer
does, would do so over each tile alone, and neighbouring tiles would disagree. Here these values come from one run on
squares from all over the image, and all tiles use them. A network whose pooling is local (`NAFNetLocal`) needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from uir.inference.tiling import Read
from uir.layers.global_statistic import GlobalStatistic, OutputHook

PARTS = 4  # squares along each axis of the mosaic


class PooledStatistics:
    """Records what a network's global poolings give, and gives it again.

    Args:
        network: its poolings are the modules `AdaptiveAvgPool2d(1)` and `GlobalStatistic`.
    """

    def __init__(self, network: nn.Module) -> None:
        self._pools = [module for module in network.modules() if _is_global(module)]
        self._values: list[Tensor] = []

    def __bool__(self) -> bool:
        return bool(self._pools)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record the pooled values of the runs in the block, in their order."""
        self._values = []

        def record(output: Tensor) -> None:
            self._values.append(output.detach().clone())

        with self._hooked(record):
            yield

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let the poolings of the run in the block give the recorded values, in the same order."""
        values = iter(self._values)

        def replace(output: Tensor) -> Tensor:
            return next(values, output)

        with self._hooked(replace):
            yield

    @contextmanager
    def _hooked(self, function: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
        handles = [pool.register_forward_hook(OutputHook(function)) for pool in self._pools]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _is_global(module: nn.Module) -> bool:
    if isinstance(module, GlobalStatistic):
        return True
    return isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1))


def mosaic(read: Read, size: tuple[int, int], side: int, multiple: int) -> Tensor:
    """A picture of evenly spread squares of an image, of about side × side pixels, [B, C, h, w].

    Args:
        read: gives parts of the image.
        size: its height and width.
        side: of the picture in pixels.
        multiple: the squares' sides are multiples of this number, and so are their places.
    """
    step = max(side // PARTS // multiple, 1) * multiple
    tops, lefts = (_spread(length, step, min(PARTS, side // step), multiple) for length in size)
    rows = [torch.cat([read(slice(t, t + step), slice(x, x + step)) for x in lefts], -1) for t in tops]
    return torch.cat(rows, -2)


def _spread(length: int, step: int, count: int, multiple: int) -> list[int]:
    """The first pixels of `count` evenly spread squares; fewer where they would overlap."""
    count = max(min(count, length // step), 1)
    last = max(length - step, 0) // multiple
    return [(index * last // (count - 1) if count > 1 else last // 2) * multiple for index in range(count)]
