"""Digests of what files hold, so that a damaged one is noticed when it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def digest(state: Mapping[Any, Any]) -> str:
    """The sha256 of the tensors' bytes in key order."""
    total = hashlib.sha256()
    for key in sorted((key for key, value in state.items() if isinstance(value, Tensor)), key=str):
        total.update(str(key).encode())
        total.update(_bytes_of(state[key]))
    return total.hexdigest()


def digest_of(value: Any) -> str:
    """The sha256 of nested plain data: mappings and lists of tensors, numbers and texts, in their order.

    A list and a tuple of the same content have the same digest.
    """
    total = hashlib.sha256()
    _update(total, value)
    return total.hexdigest()


def _update(total: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        total.update(f"tensor {value.dtype} {tuple(value.shape)};".encode())
        total.update(_bytes_of(value))
    elif isinstance(value, Mapping):
        total.update(f"mapping {len(value)};".encode())
        for key, inner in value.items():
            _update(total, key)
            _update(total, inner)
    elif isinstance(value, list | tuple):
        total.update(f"list {len(value)};".encode())
        for inner in value:
            _update(total, inner)
    else:  # the repr of another object could name its place in memory
        plain = value is None or isinstance(value, bool | int | float | complex | str | bytes)
        total.update(f"{type(value).__name__} {value!r};".encode() if plain else f"{type(value).__name__};".encode())


def _bytes_of(tensor: Tensor) -> Any:
    if tensor.layout != torch.strided or tensor.is_meta:
        return repr(tensor.layout).encode()
    return tensor.detach().cpu().resolve_conj().contiguous().flatten().view(torch.uint8).numpy()
