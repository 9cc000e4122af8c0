"""What the networks of a cell cost: parameters, and multiply-accumulate operations for one image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from uir.ablation.runs import Run
from uir.core.checkpoint import CheckpointError
from uir.degradations.record import DegradationRecord, RecordBatch
from uir.inference.loading import read_predictor
from uir.inference.predictor import Predictor, Running, predict
from uir.layers.image_channels import image_channels
from uir.registry import UnknownNameError

SIDE = 64
"""Height and width in pixels of the image that operations are counted for."""


@dataclass(frozen=True)
class Cost:
    """The networks that restore, an encoder of their code included.

    Attributes:
        parameters: their number.
        macs: multiply-accumulates of convolutions and matrix products for one image of 64 × 64; None if the method
            needs more than an image.
    """

    parameters: int
    macs: int | None


def cost_of(run: Run) -> Cost | None:
    """The cost of a finished run's networks; None if its file does not say what they are, as basicsr's do not."""
    try:
        predictor = read_predictor(run.output("train") / "models" / "net_g_latest.pth")
    except (CheckpointError, UnknownNameError):
        return None
    parameters = {id(value): value.numel() for net in predictor.networks.values() for value in net.parameters()}
    return Cost(sum(parameters.values()), _macs(predictor))


def _macs(predictor: Predictor) -> int | None:
    """Operations for one black image that nothing was done to; None if the method needs more, such as a prompt."""
    for network in predictor.networks.values():
        network.eval()
    channels = 1 if image_channels(predictor.network) == 1 else 3
    batch = {"lq": torch.zeros(1, channels, SIDE, SIDE), "degradation": RecordBatch([DegradationRecord(())])}
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            predict(predictor, batch, Running(torch.device("cpu")))
    except (ValueError, KeyError, TypeError, RuntimeError):
        return None
    return counter.get_total_flops() // 2
