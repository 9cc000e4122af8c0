"""Writing files so that a crash never leaves an incomplete file."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


def home_expanded(path: str | Path) -> Path:
    """A path with the home folder for `~`; unchanged for `~name` if there is no such user."""
    return Path(os.path.expanduser(path))


@contextmanager
def replacing(path: Path, flush: bool = True) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; if no error occurs, the file then replaces `path`.

    Args:
        flush: wait until the disk has the data, so that a power failure leaves no incomplete file; not for small files.

    Raises:
        OSError: the file cannot be written, such as on a full disk; it names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path, f".{os.getpid()}")
    try:
        with naming(path, temporary):
            yield temporary
            if flush:
                with temporary.open("rb+") as handle:
                    os.fsync(handle.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Give an OSError of a block the name of a file, if it has none or that of the file's temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def append_text(path: Path, text: str) -> None:
    """Write text at the end of a file.

    Raises:
        OSError: the file cannot be written, such as on a full disk; it names `path`.
    """
    with naming(path), path.open("a", encoding="utf-8") as handle:
        handle.write(text)


def temporary_beside(path: Path, mark: str = "") -> Path:
    """A hidden name in the folder of `path`, of the same suffix; always the same one for the same path and mark.

    It is short: a name of the length that a system allows would have no room for more letters.
    """
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= 32 else ""
    return path.with_name(f"{unfinished_start(path)}{mark}.part{suffix}")


def unfinished_start(path: str | Path) -> str:
    """How the hidden names for a file begin; what follows is a point and more."""
    digest = hashlib.blake2b(os.fsencode(os.path.basename(path)), digest_size=16).hexdigest()
    return f".{digest}"


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.\d+\.part(\..*)?")


def is_unfinished(path: Path) -> bool:
    """Whether a file has the temporary name that `replacing` gives."""
    return _UNFINISHED.fullmatch(path.name) is not None


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process left unfinished in a folder and below it; no living process may write there."""
    for path in folder.rglob(".*.part*"):
        if is_unfinished(path) and path.is_file():
            path.unlink()


def read_npy(path: str | Path, where: str) -> np.ndarray:
    """The array in an `.npy` file; objects in it, which could run code, are not read.

    Args:
        path: the file.
        where: what asks for it, for messages.

    Raises:
        ValueError: it is damaged, or contains more than numbers.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged head makes the reader fail in any way
        raise ValueError(f"{where}: '{path}' cannot be read as an array of numbers ({error})") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{where}: '{path}' is an archive of arrays, expected one array")
    return array
