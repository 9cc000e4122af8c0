"""What the C library does with the memory of freed tensors."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # the numbers of mallopt's parameters in malloc.h
_KEPT = 2**29
"""Bytes that may be free at the end of the heap before they go back to the system."""
_MAPPED = 2**25
"""Bytes of a piece from which on it is mapped by itself, and goes back when it is freed: glibc's largest value."""


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Let glibc keep up to 512 MiB of freed memory for the next tensors, instead of giving it back at once.

    A network frees and takes tensors of many megabytes all the time. Each time glibc gives their memory back, the
    system must clear every page again when it is next used: up to a fifth of the time of a training step on a CPU
    (docs/benchmarks.md). The most that a program needs stays the same.

    Args:
        environment: variables by which a user sets the allocator; nothing is changed then.

    Returns:
        Whether it was changed; another C library is left as it is.
    """
    if any(name.startswith("MALLOC_") for name in environment) or "glibc.malloc" in environment.get(
        "GLIBC_TUNABLES", ""
    ):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  # only glibc has it
    except (AttributeError, OSError, TypeError):
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, _MAPPED)) and bool(library.mallopt(_TRIM_THRESHOLD, _KEPT))
