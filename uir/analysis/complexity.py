"""The cost of a network: parameters, multiply-accumulates, time and memory for one image."""

from __future__ import annotations

import statistics
import time
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from uir.analysis.networks import count_parameters
from uir.inference.macs import count_macs, run_padded
from uir.layers.image_channels import image_channels


@dataclass(frozen=True)
class Complexity:
    """The cost of one image.

    Attributes:
        network: class of the network.
        parameters: their number.
        macs: multiply-accumulates of convolutions and matrix products.
        seconds: median time of the runs, without the first (warm-up) pass.
        peak_memory_mib: largest memory use: weights, and the tensors of the forward pass (on CUDA as its allocator
            counts it; elsewhere without the internal buffers of the operators).
        size: height and width of the input.
        device: the device of the measurement.
        threads: CPU threads.
        runs: number of timed passes.
    """

    network: str
    parameters: int
    macs: int
    seconds: float
    peak_memory_mib: float
    size: tuple[int, int]
    device: str
    threads: int
    runs: int


def measure_complexity(
    network: nn.Module, size: tuple[int, int] = (256, 256), *, device: torch.device | str = "cpu", runs: int = 3
) -> Complexity:
    """Measure a network on one image of noise.

    Args:
        network: takes [1, 3, H, W] in [0, 1], or [1, 1, H, W]; padded to its `pad_multiple`.
        size: H and W.
        device: where to compute.
        runs: timed forward passes.

    Raises:
        ValueError: a size or `runs` is below 1.
    """
    if min(*size, runs) < 1:
        raise ValueError(f"complexity: expected a size and runs of at least 1, got {size[0]} {size[1]} and {runs}")
    place = torch.device(device)
    network = network.to(place).eval()
    channels = 1 if image_channels(network) == 1 else 3
    image = torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(0)).to(place)
    with torch.no_grad():
        macs = count_macs(network, image)  # this is also the warm-up
        seconds = [_timed(network, image) for _ in range(runs)]
        peak = _peak_memory(network, image)
    return Complexity(
        type(network).__name__,
        count_parameters(network),
        macs,
        statistics.median(seconds),
        peak / 2**20,
        size,
        str(place),
        torch.get_num_threads(),
        runs,
    )


def _timed(network: nn.Module, image: Tensor) -> float:
    _wait(image.device)
    began = time.perf_counter()
    run_padded(network, image)
    _wait(image.device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()


def _peak_memory(network: nn.Module, image: Tensor) -> int:
    """Bytes of the weights, and the largest additional memory during one forward pass."""
    weights = sum(tensor.untyped_storage().nbytes() for tensor in (*network.parameters(), *network.buffers()))
    if image.device.type == "cuda":
        before = torch.cuda.memory_allocated(image.device)
        torch.cuda.reset_peak_memory_stats(image.device)
        run_padded(network, image)
        return weights + torch.cuda.max_memory_allocated(image.device) - before
    with _TensorMemory() as memory:
        run_padded(network, image)
    return weights + memory.peak


class _TensorMemory(TorchDispatchMode):
    """Counts the bytes of the tensors that operators create inside the block, until each is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = {_storage_key(item) for item in tree_leaves((args, kwargs)) if isinstance(item, Tensor)}
        outputs = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(outputs):
            key = _storage_key(tensor) if isinstance(tensor, Tensor) else 0
            if key and key not in self.sizes and key not in inputs:  # neither a view nor written in place
                storage = tensor.untyped_storage()
                self.sizes[key] = storage.nbytes()
                self.now += storage.nbytes()
                weakref.finalize(storage, self._release, key)
        self.peak = max(self.peak, self.now)
        return outputs

    def _release(self, key: int) -> None:
        self.now -= self.sizes.pop(key, 0)


def _storage_key(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
