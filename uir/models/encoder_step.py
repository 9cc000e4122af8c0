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

    def forward(self, *images: Tensor, detailed: Tensor | None = None) -> list[DegradationCode]:
        """The codes of each batch [B, 3, H, W]; each batch has its own batch statistics.

        Args:
            images: the batches.
            detailed: a batch of which only `detail` is needed; its code is the last one.
        """
        codes = [replace(self.net(image), **self.left_out) for image in images]
        return codes if detailed is None else [*codes, detail_of(self.net, detailed)]


def detail_of(encoder: nn.Module, image: Tensor) -> DegradationCode:
    """A code of `detail` alone, of [B, 3, H, W].

    An encoder may define a method `detail_of(image) -> Tensor`, which saves the computation of all other fields.
    """
    alone = getattr(encoder, "detail_of", None)
    detail = encoder(image).require("detail", "this loss") if alone is None else alone(image)
    return DegradationCode(detail=detail)
