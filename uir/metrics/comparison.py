"""What the metrics of two images share: the preparation of the images, and the description of their settings."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from uir.metrics.protocols import Protocol, prepare


class Comparison(ABC):
    """A metric that compares a restored image with its ground truth. A subclass says how, in `scores`.

    Args:
        settings: how both images are prepared.
        note: further settings in short, for the heading of a table.

    Attributes:
        label: the metric's usual name.
        better: `higher` or `lower`.
    """

    label = ""
    better = "higher"

    def __init__(self, settings: Protocol, note: str = "") -> None:
        self.settings = settings
        self.note = note

    def describe(self, channel: str | None = None) -> str:
        """The metric and all its settings, for the heading of a table; `channel` as in `Protocol.describe`."""
        return f"{self.label} ({self.settings.describe(channel)}{', ' if self.note else ''}{self.note})"

    def __call__(self, restored: Tensor, gt: Tensor) -> float:
        """The mean over a batch of float images [B, C, H, W] or [C, H, W] in [0, 1]."""
        return self.scores(*prepare(restored, gt, self.settings)).double().mean().item()

    @abstractmethod
    def scores(self, restored: Tensor, gt: Tensor) -> Tensor:
        """The metric of each image of a batch.

        Args:
            restored, gt: float64 [B, C, H, W] in units of 1/255, C three (RGB) or one.

        Returns:
            [B].
        """


def as_rgb(image: Tensor) -> Tensor:
    """Images [B, C, H, W] in units of 1/255 as RGB in [0, 1]; grey ones have the same value in all channels."""
    return (image / 255).expand(-1, 3, -1, -1)
