"""The images for a preparation: threads read a few ahead and encode them as PNG; unreadable ones are reported."""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from uir.core.images import IMAGE_EXTENSIONS, UnreadableImageError, list_image_names, read_content

T = TypeVar("T")
R = TypeVar("R")

SHOWN = 10  # number of unreadable images that a message names


@dataclass(frozen=True)
class SourceFile:
    """An image file: `name` is its path relative to the searched `folder`, with `/`."""

    name: str
    folder: str  # text, because fifty thousand paths take seconds

    @property
    def path(self) -> Path:
        """Where the file is."""
        return Path(self.folder, self.name)

    def read_bytes(self) -> bytes:
        """The file's content.

        Raises:
            UnreadableImageError: it cannot be read.
        """
        try:
            return read_content(self.path)
        except FileNotFoundError as error:
            raise UnreadableImageError(str(self.path), "there is no such file") from error


@dataclass(frozen=True)
class Fingerprint:
    """Identifies a file that was read: its size in bytes, its time of change in ns, and the CRC-32 of its content."""

    size: int
    mtime_ns: int
    crc: int

    @classmethod
    def of(cls, source: SourceFile, content: bytes) -> Fingerprint:
        """The fingerprint of a file that was just read."""
        return cls(len(content), source.path.stat().st_mtime_ns, zlib.crc32(content))

    def matches(self, source: SourceFile) -> bool:
        """Whether the file is unchanged; its content is compared only if the time differs (a copy)."""
        stat = source.path.stat()
        if stat.st_size != self.size:
            return False
        return stat.st_mtime_ns == self.mtime_ns or zlib.crc32(source.path.read_bytes()) == self.crc


def list_sources(folder: Path) -> list[SourceFile]:
    """The images of a folder and its subfolders, sorted by name.

    Raises:
        ValueError: there is no such folder, no image in it, or a name that no list of names can contain.
    """
    root = folder.expanduser()
    names = list_image_names(root)
    if not names:
        raise ValueError(f"{folder}: no image in it or below it; known kinds: {', '.join(sorted(IMAGE_EXTENSIONS))}")
    unfit = [name for name in names if not _is_text(name)]
    if unfit:
        shown = ", ".join(ascii(name) for name in unfit[:SHOWN])
        more = f" and {len(unfit) - SHOWN} more" if len(unfit) > SHOWN else ""
        raise ValueError(f"{folder}: rename {shown}{more}: a name must be UTF-8, without line breaks")
    return [SourceFile(name, str(root)) for name in names]


def _is_text(name: str) -> bool:
    """Whether a name can stand in a line of a UTF-8 file."""
    return (name.isascii() and name.isprintable()) or (
        len(name.splitlines()) == 1 and not any("\udc80" <= letter <= "\udcff" for letter in name)
    )


def map_ahead(
    work: Callable[[T], R], items: Iterable[T], workers: int | None
) -> Generator[tuple[T, Future[R]], None, None]:
    """`work` done on every item by threads, in order, at most `2 * workers` items ahead: this limits the memory.

    Threads are enough for images, because OpenCV lets others run while it decodes and encodes.

    Args:
        work: the function; its result or error is in the future.
        items: its arguments.
        workers: number of threads; None for one per core that this process may use, but eight at most.
    """
    count = min(_cores(), 8) if workers is None else workers
    if count < 1:
        raise ValueError(f"workers: got {workers}; expected at least 1")
    waiting: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(count)
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) >= 2 * count:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def encode_png(image: np.ndarray, level: int, name: str) -> bytes:
    """Encode an RGB image HWC, uint8 or uint16 with 1, 3 or 4 channels, as the bytes of a PNG file.

    Args:
        image: as from `uir.core.images.read_image`.
        level: compression from 0 (none) to 9 (most); the pixels are the same.
        name: the name for messages.

    Raises:
        UnreadableImageError: its pixels are floats, which PNG cannot store.
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise UnreadableImageError(name, f"has pixels of type {image.dtype}; a PNG stores 8 or 16 bits per channel")
    swap = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(image.shape[2])
    pixels = np.ascontiguousarray(image)
    is_encoded, encoded = cv2.imencode(
        ".png", pixels if swap is None else cv2.cvtColor(pixels, swap), [cv2.IMWRITE_PNG_COMPRESSION, level]
    )
    if not is_encoded:
        raise UnreadableImageError(name, f"could not be encoded as PNG (shape {image.shape})")
    return encoded.tobytes()


def check_level(level: int, key: str) -> None:
    """Raise a ValueError unless `level` is a PNG compression level; `key` is the option's name for messages."""
    if not 0 <= level <= 9:
        raise ValueError(f"{key}: got {level}; expected 0 (fast, large) to 9 (slow, small)")


def raise_unreadable(failed: Sequence[UnreadableImageError], total: int, rest: str, others: str = "") -> None:
    """Raise one error that names the unusable images, if there are any.

    Args:
        failed: the errors, in order.
        total: number of images.
        rest: a sentence that says how to continue.
        others: a sentence about the other images, if there are any.
    """
    if failed:
        shown = "; ".join(str(error) for error in failed[:SHOWN])
        more = f"; and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
        which, advice = f"{len(failed)} of {total} images", f"{others} {rest}" if others else rest
        if len(failed) == total:
            which, advice = "the only image" if total == 1 else f"all {total} images", rest
        raise ValueError(f"{which} cannot be used: {shown}{more}. {advice}")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
