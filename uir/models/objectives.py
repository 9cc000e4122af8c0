"""What a step minimises: one objective, or several in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Objective:
    """Losses whose sum is minimised over some of the networks, while the others are frozen.

    Attributes:
        losses: computes them, by log name (`l_pix`); called once the other networks are frozen.
        roles: the networks that are trained; None for all that have an optimizer.
        step: whether the optimizers of `roles` step afterwards. False keeps the gradients for the next objective of the
            same networks.
    """

    losses: Callable[[], Mapping[str, Tensor]]
    roles: tuple[str, ...] | None = None
    step: bool = True


@contextmanager
def frozen(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Networks that need no gradient within a block; what was frozen before stays so afterwards."""
    parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
