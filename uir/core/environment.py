"""Errors that come from the user's machine and not from a program: what stopped the command, in one sentence."""

from __future__ import annotations

import errno
import os
import re

NO_MEMORY = "not enough memory"
_FULL = ("ENOSPC", "EDQUOT")
_PLACE = (
    "EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR", "EISDIR", "EEXIST", "ENOTEMPTY", "ENAMETOOLONG", "ELOOP", "EIO",
    "ESTALE", "EBUSY", "ETXTBSY",
)  # fmt: skip
_NETWORK = ("EADDRINUSE", "ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH")
_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "Insufficient memory", "Cannot allocate memory")
_CUDA_TEXTS = (
    "Torch not compiled with CUDA", "No CUDA GPUs are available", "Found no NVIDIA driver", "invalid device ordinal",
)  # fmt: skip
_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([\w ]+)|exited)")


def problem_of_machine(error: BaseException) -> str | None:
    """What of the user's machine stopped a command, in one sentence; None where the error has another cause.

    The error may come from a loader's process; its text is then that of the whole error there.
    """
    text = str(error)
    if isinstance(error, MemoryError):
        return f"{NO_MEMORY} in this machine"
    if isinstance(error, OSError):
        return _of_system(error)
    if not isinstance(error, RuntimeError | AssertionError) and type(error).__module__ != "cv2":
        return None
    if "Could not determine home directory" in text:
        return "a path begins with ~ and a name that no user of this machine has"
    worker = _WORKER.search(text)
    if worker is not None:
        return _of_worker(worker[1], worker[2] or "")
    if any(part in text for part in _MEMORY_TEXTS):
        return f"{NO_MEMORY} {'on the GPU' if 'CUDA' in text or 'MPS' in text else 'in this machine'}"
    if any(part in text for part in _CUDA_TEXTS):
        return "this machine has no such GPU, as far as torch can see; the CPU is `num_gpu: 0` or `--device cpu`"
    return None


def _of_worker(process: str, signal: str) -> str:
    """A process that loads data ended without an error of its own."""
    if "Bus" in signal:
        return (
            f"a process that loads data ({process}) found no room in shared memory (/dev/shm); make that larger, "
            "or set num_worker_per_gpu to 0"
        )
    how = f"was stopped from outside (signal: {signal.strip()})" if signal else "ended before its work was done"
    return (
        f"a process that loads data ({process}) {how}; most often the machine has too little memory, and fewer "
        "processes (num_worker_per_gpu) or smaller images need less"
    )


def _of_system(error: OSError) -> str | None:
    number, place, reason = error.errno, error.filename, error.strerror
    if number is None:  # in an error from a loader's process, all that is left is the text
        written = re.search(r"\[Errno (\d+)\] ([^:\n]+)(?:: '([^'\n]*)')?\s*$", str(error))
        if written is None:
            return None
        number, reason, place = int(written[1]), written[2], written[3]
    named = f"{os.fsdecode(place)}: " if isinstance(place, str | bytes | os.PathLike) else ""
    code = errno.errorcode.get(number, "")  # by name, because not every system has all of them
    if code in _FULL:
        return f"{named}cannot be written, the disk is full" if named else "the disk is full"
    if code == "EFBIG":
        return f"{named}cannot be written, it is larger than this machine allows (`ulimit -f`)"
    if code == "ENOMEM":
        return f"{NO_MEMORY} in this machine"
    if code in ("EMFILE", "ENFILE"):
        return f"{named}too many files are open; `ulimit -n 65536` allows more, fewer loader processes need less"
    return f"{named}{reason}" if (code in _PLACE and named) or code in _NETWORK else None
