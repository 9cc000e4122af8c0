"""What the networks of a cell cost: parameters, and operations and time for one image."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from uir.ablation.trained import Trained
from uir.core.threads import one_thread
from uir.degradations.record import DegradationRecord, RecordBatch
from uir.inference.predictor import Running, predict
from uir.layers.image_channels import image_channels

SIDE = 64
"""Height and width in pixels of the image that operations are counted for."""
TIMED_SIDE = 256
"""Height and width in pixels of the image that is timed."""
_REPEATS, _ENOUGH_SECONDS = 3, 1.0


@dataclass(frozen=True)
class Cost:
    """The networks that restore, an encoder of their code included.

    Attributes:
        parameters: their number.
        macs: multiply-accumulates of convolutions and matrix products for one image of 64 × 64, all steps of a sampler
            together; None if the method needs more than an image.
        seconds_per_megapixel: processor seconds of one core of this machine for a million pixels of the degraded image,
            measured on one of 256 × 256; None as for `macs`.
    """

    parameters: int
    macs: int | None
    seconds_per_megapixel: float | None = None


def cost_of(trained: Trained) -> Cost:
    """The cost of a finished run's networks, with the controls that it was measured with."""
    networks = trained.predictor.networks.values()
    parameters = {id(value): value.numel() for network in networks for value in network.parameters()}
    count = sum(parameters.values())
    try:
        with FlopCounterMode(display=False) as counter:
            _restore(trained, SIDE)
        return Cost(count, counter.get_total_flops() // 2, _seconds(trained) / TIMED_SIDE**2 * 1e6)
    except (ValueError, KeyError, TypeError, RuntimeError):  # it needs more than an image, such as a prompt
        return Cost(count, None)


def _restore(trained: Trained, side: int) -> None:
    """Restore an image of noise to which nothing was done."""
    channels = 1 if image_channels(trained.predictor.network) == 1 else 3
    image = torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0))
    batch: dict[str, Any] = {"lq": image, "degradation": RecordBatch([DegradationRecord(())])}
    predict(trained.predictor, batch, Running(torch.device("cpu")), trained.controls)


def _seconds(trained: Trained) -> float:
    """The shortest of a few times, in processor seconds: other programs on the machine count less."""
    times: list[float] = []
    with one_thread():
        while len(times) < _REPEATS and sum(times) < _ENOUGH_SECONDS:
            began = time.process_time()
            _restore(trained, TIMED_SIDE)
            times.append(time.process_time() - began)
    return min(times)
