"""Values that a network computes over all pixels of its input: a mark for them, and hooks on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class GlobalStatistic(nn.Identity):
    """Passes on a value that depends on all pixels, such as the scores of attention between channels.

    It changes nothing. When an image is restored in tiles, all tiles get the value of the whole image here (see
    `uir.inference.pooled_statistics`), as from `nn.AdaptiveAvgPool2d(1)`.
    """


class OutputHook:
    """A forward hook that uses what a module gives, and not what the module was given.

    A global pooling that has only hooks of this kind may be called with the means of its input instead of the input.

    Args:
        function: gets the output, and gives what to replace it by; None leaves it.
    """

    def __init__(self, function: Callable[[Tensor], Tensor | None]) -> None:
        self.function = function

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        """What torch calls after the module."""
        return self.function(output)
