"""Mixed precision by the name that option files and the command line give it."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from uir.schema import Precision

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """A block that computes in `precision` on `device`; nothing for fp32."""
    return contextlib.nullcontext() if precision == "fp32" else torch.autocast(device.type, _TYPES[precision])
