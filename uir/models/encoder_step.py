"""A degradation encoder inside of a training method: what it fills, and how it runs in a step."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from uir.layers.degradation_code import DegradationCode

STEERING = ("vector", "map", "params", "mask", "kernel")
"""Fields that a backbone may be steered by; the others are for losses."""


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


def filled(code: DegradationCode) -> list[str]:
    """Names of the fields that are there."""
    return [field.name for field in fields(code) if getattr(code, field.name) is not None]


def code_of_blank(encoder: nn.Module) -> DegradationCode:
    """What an encoder gives for one black image of 64×64: which fields, of which widths.

    Raises:
        ValueError: it gives something else than a code.
    """
    device = next((p.device for p in encoder.parameters()), torch.device("cpu"))
    with torch.no_grad(), evaluating(encoder):
        code = encoder(torch.zeros(1, 3, 64, 64, device=device))
    if not isinstance(code, DegradationCode):
        raise ValueError(
            f"network_e: {type(encoder).__name__} gave {type(code).__name__}; a degradation encoder returns a "
            "DegradationCode (uir.layers.degradation_code)"
        )
    return code


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Networks in evaluation mode, and every module of them back in its own afterwards."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
