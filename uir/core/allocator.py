"""What the C library does with the memory of freed tensors."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # the numbers of mallopt's parameters in malloc.h
_KEPT = 2**30
"""Bytes that may be free at the end of the heap before they go back to the system; half of them are reserved below."""
_MAPPED = 2**25
"""Bytes of a piece from which on it is mapped by itself, and goes back when it is freed: glibc's largest value."""
_HUGE_PAGE = 2**21
_ADVISE_HUGE_PAGES = 14  # MADV_HUGEPAGE in Linux's mman.h
_RESERVED = 15
"""Pieces of almost `_MAPPED` bytes by which the heap grows at once; this takes no memory before it is used."""


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Let glibc keep up to 1 GiB of freed memory for the next tensors, instead of giving it back at once.

    A network frees and takes tensors of many megabytes all the time. Each time glibc gives their memory back, the
    system must clear every page again when it is next used: up to a fifth of the time of a training step on a CPU
    (docs/benchmarks.md). The most that a program needs stays the same.

    Linux is also asked for pages of 2 MiB for that memory, instead of 4 KiB: the processor then finds more of it
    without looking addresses up. Where the system has none, this has no effect.

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
    if not (library.mallopt(_MMAP_THRESHOLD, _MAPPED) and library.mallopt(_TRIM_THRESHOLD, _KEPT)):
        return False
    _ask_for_huge_pages()
    return True


@cache
def _ask_for_huge_pages() -> None:
    """Let the heap grow once, which takes no memory before it is used, and ask for huge pages in what was added."""
    library = ctypes.CDLL(None)
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    library.malloc.restype, library.malloc.argtypes = pointer, [size]
    library.free.restype, library.free.argtypes = None, [pointer]
    library.sbrk.restype, library.sbrk.argtypes = pointer, [ctypes.c_ssize_t]
    library.madvise.argtypes = [pointer, size, ctypes.c_int]
    start = library.sbrk(0)
    pieces = [library.malloc(_MAPPED - _HUGE_PAGE) for _ in range(_RESERVED)]
    end = library.sbrk(0)
    for piece in reversed(pieces):
        library.free(piece)
    first, last = -(-start // _HUGE_PAGE) * _HUGE_PAGE, end // _HUGE_PAGE * _HUGE_PAGE
    if last > first:  # without it, another part of the memory serves as the heap
        library.madvise(first, last - first, _ADVISE_HUGE_PAGES)
