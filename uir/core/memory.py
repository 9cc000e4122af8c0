"""How much memory is free, and how much a computation needs."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_CGROUPS = (  # limit and use of a container: cgroup 2, then 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_bytes(device: torch.device) -> int | None:
    """The memory that can still be allocated on a device; None if this machine does not say it."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    answers = [_of_machine(), *(_of_container(*files) for files in _CGROUPS)]
    known = [answer for answer in answers if answer is not None]
    return min(known) if known else None


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _of_container(limit: str, use: str) -> int | None:
    try:
        return max(int(Path(limit).read_text()) - int(Path(use).read_text()), 0)
    except (OSError, ValueError):  # no container, or "max": no limit
        return None


def peak_bytes(run: Callable[[], Any]) -> int:
    """The most bytes that the tensors made in a computation have at one time; what a library takes inside is not seen.

    Args:
        run: the computation.
    """
    with _Watch() as watch:
        run()
    return watch.peak


class _Watch(TorchDispatchMode):
    """Counts the bytes of the storages that operations return, until no tensor of theirs is left."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self.now = 0
        self._tensors: dict[int, int] = {}
        self._sizes: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; with torch's own answer, torch would import its compiler, which takes seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.layout == torch.strided:
                storage = value.untyped_storage()
                key = storage.data_ptr()
                if key not in self._tensors:
                    self._tensors[key], self._sizes[key] = 0, storage.nbytes()
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                self._tensors[key] += 1
                weakref.finalize(value, self._forget, key)
        return result

    def _forget(self, key: int) -> None:
        self._tensors[key] -= 1
        if self._tensors[key] == 0:
            del self._tensors[key]
            self.now -= self._sizes.pop(key)
