"""A degradation encoder in the step of a training method."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from torch import Tensor, nn

from uir.layers.degradation_code import DegradationCode


class EncoderStep(nn.Module):
    """Runs the encoder on several batches, one after the other, in one call, so that DDP counts each parameter once.

    Args:
        net: the encoder.
        left_out: fields that no loss reads; if DDP saw them, it would wait for gradients that never come.
    """

    def __init__(self, net: nn.Module, left_out: Collection[str] = ()) -> None:
        super().__init__()
        self.net = net
        self.left_out = dict.fromkeys(left_out)

    def forward(self, *images: Tensor) -> list[DegradationCode]:
        """The codes of each batch [B, 3, H, W]; each batch has its own batch statistics."""
        return [replace(self.net(image), **self.left_out) for image in images]
