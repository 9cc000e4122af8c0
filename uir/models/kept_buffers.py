"""The running statistics of networks, as they were before a step that was skipped."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class KeptBuffers:
    """A copy of the floating-point buffers of some networks.

    A forward pass changes running statistics before anybody knows whether its loss is finite. A skipped step must not
    leave NaN in them, because no later step would remove it.

    Args:
        networks: whose buffers to keep; the buffers are changed in place, never replaced.
    """

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        self._buffers = [b for network in networks for b in network.buffers() if b.is_floating_point()]
        self._copies = [buffer.detach().clone() for buffer in self._buffers]

    @torch.no_grad()
    def keep(self) -> None:
        """Copy the buffers as they are now."""
        if self._buffers:
            torch._foreach_copy_(self._copies, self._buffers)

    @torch.no_grad()
    def put_back(self) -> None:
        """Undo what happened to the buffers after `keep`."""
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._copies)
