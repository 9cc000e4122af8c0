"""The choice of the device."""

from __future__ import annotations

import torch


def pick_device(num_gpu: int | str) -> torch.device:
    """CPU for `num_gpu: 0`, else CUDA, else Apple's MPS, else CPU."""
    if num_gpu == 0:
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
