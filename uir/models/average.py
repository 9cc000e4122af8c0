"""The moving average of a network's weights and buffers."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """average ← decay · average + (1 − decay) · network, after each step; it starts as a copy of the network.

    Floating-point buffers (running statistics) are averaged like weights; counters are copied. torch's own class,
    `AveragedModel`, is slower, because it visits the modules of both networks at each step.

    Args:
        network: the network that is averaged.
        decay: in [0, 1).

    Attributes:
        module: the averaged network, in evaluation mode.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(network).eval().requires_grad_(False)
        self._average = get_ema_multi_avg_fn(decay)
        self._network = network
        self._lists: tuple[list[torch.Tensor], ...] | None = None

    @torch.no_grad()
    def update(self) -> None:
        """Include the network's present weights in the average."""
        if self._lists is None:
            pairs = list(zip(_tensors(self.module), _tensors(self._network), strict=True))
            floats = [pair for pair in pairs if pair[0].is_floating_point()]
            others = [pair for pair in pairs if not pair[0].is_floating_point()]
            self._lists = (
                [a for a, _ in floats],
                [n for _, n in floats],
                [a for a, _ in others],
                [n for _, n in others],
            )
        averages, values, counters, counts = self._lists
        self._average(averages, values, None)
        for counter, count in zip(counters, counts, strict=True):
            counter.copy_(count)


def _tensors(network: nn.Module) -> list[torch.Tensor]:
    return [*network.parameters(), *network.buffers()]
