"""The objectives of a step: one, or several in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Objective:
    """Losses; their sum is minimised over some of the networks, while the others are frozen.

    Attributes:
        losses: computes the losses, by log name (`l_pix`); called after the other networks are frozen.
        roles: the networks that are trained; None means all that have an optimizer.
        step: whether the optimizers of `roles` step afterwards. False keeps the gradients for the next objective of the
            same networks.
    """

    losses: Callable[[], Mapping[str, Tensor]]
    roles: tuple[str, ...] | None = None
    step: bool = True


@contextmanager
def frozen(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Freeze networks within a block; parameters that were frozen before stay frozen afterwards."""
    parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
