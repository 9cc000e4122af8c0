"""Small changes of a network's arithmetic, which its record must notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

# Activations and averages -> what stands in for one of their calls.
SWAPS: dict[Callable[..., Any], Callable[..., Any]] = {
    F.gelu: lambda x, *_, **__: F.relu(x),
    F.relu: lambda x, *_, **__: F.gelu(x),
    F.leaky_relu: lambda x, slope=0.01, *_, **__: torch.where(x > 0, x, 1.5 * slope * x),
    F.silu: lambda x, *_, **__: F.relu(x),
    F.prelu: lambda x, weight: F.leaky_relu(x, 0.01),
    F.softmax: lambda x, dim=-1, *_, **__: torch.sigmoid(x),
    F.normalize: lambda x, *_, **__: x,
    torch.sigmoid: lambda x: F.hardsigmoid(x),
    Tensor.softmax: lambda x, dim=-1, *_, **__: torch.sigmoid(x),
    Tensor.sigmoid: lambda x: F.hardsigmoid(x),
}  # fmt: skip


class Swap(TorchFunctionMode):
    """Puts another function in the place of one call of an activation.

    Args:
        at: which call of those in SWAPS, counted from 0; -1 only counts them.
    """

    def __init__(self, at: int = -1) -> None:
        super().__init__()
        self.at = at
        self.calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every call into torch passes here."""
        target = func
        if func in SWAPS:
            target = SWAPS[func] if self.calls == self.at else func
            self.calls += 1
        return target(*args, **(kwargs or {}))


def blocks_of(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """All modules with weights of their own or below them, but for the network itself."""
    for name, module in network.named_modules():
        if name and any(True for _ in module.parameters()):
            yield name, module


@contextmanager
def changed_output(module: nn.Module, share: float) -> Iterator[list[int]]:
    """A block whose output is changed by a share of its spread, by a pattern that no norm takes away.

    Yields a list that holds an entry for each call that was changed.
    """
    changed: list[int] = []

    def change(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return None
        changed.append(output.numel())
        pattern = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
        return output + share * output.std(correction=0) * pattern

    handle = module.register_forward_hook(change)
    try:
        yield changed
    finally:
        handle.remove()
