"""The choice of the device."""

from __future__ import annotations

import torch


def device_named(name: str | torch.device | None) -> torch.device:
    """The device that a user names; None is the best one of this machine.

    Raises:
        ValueError: there is no such device.
    """
    if name is None:
        return pick_device("auto")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device '{name}': expected cpu, cuda, cuda:0 (or another number) or mps") from None
    counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    count = counts.get(device.type, 1)
    if (device.index or 0) >= count:
        there = f"this machine has {count}, counted from 0" if count else "torch finds none on this machine"
        raise ValueError(f"device '{name}': there is no such device ({there}); `cpu` always works")
    return device


def pick_device(num_gpu: int | str) -> torch.device:
    """CPU for `num_gpu: 0`, else CUDA, else Apple's MPS, else CPU."""
    if num_gpu == 0:
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
