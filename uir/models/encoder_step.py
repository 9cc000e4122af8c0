"""A degradation encoder inside of a training method: how it runs in a step."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from torch import Tensor, nn

from uir.layers.degradation_code import DegradationCode


class EncoderStep(nn.Module):
    """The encoder on several batches, one after the other, in one call: so DDP counts each parameter once.

    Args:
        net: the encoder.
        left_out: fields that no one reads; where DDP sees them, it waits for gradients that never come.
    """

    def __init__(self, net: nn.Module, left_out: Collection[str] = ()) -> None:
        super().__init__()
        self.net = net
        self.left_out = dict.fromkeys(left_out)

    def forward(self, *images: Tensor) -> list[DegradationCode]:
        """The codes of each batch [B, 3, H, W], which have their own batch statistics."""
        return [replace(self.net(image), **self.left_out) for image in images]
