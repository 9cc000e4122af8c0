"""Mixed precision, by the names of option files and of the command line."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16", "fp16"]


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """A block that computes in `precision` on `device`; for fp32 it changes nothing."""
    if precision == "fp32":
        return contextlib.nullcontext()
    import torch

    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)
