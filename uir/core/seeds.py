"""Seeds and generators. A random generator depends on its purpose, never on the global random state."""

from __future__ import annotations

import hashlib
import operator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2⁶³) that depends only on the parts and their order; it is the same on every machine."""
    text = "\x1f".join(f"str:{part}" if isinstance(part, str) else f"int:{operator.index(part)}" for part in parts)
    return (
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little") >> 1
    )


def numpy_generator(*parts: int | str) -> np.random.Generator:
    """A counter-based generator (Philox) for single numbers, keyed by `derive_seed(*parts)`."""
    return np.random.Generator(np.random.Philox(key=derive_seed(*parts)))


def torch_generator(*parts: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator for whole arrays, keyed by `derive_seed(*parts)`."""
    import torch

    return torch.Generator(device=device).manual_seed(derive_seed(*parts))
