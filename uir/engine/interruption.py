"""Ctrl-C and SIGTERM: finish the iteration, save, and print the command that continues the run."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from uir.core.distributed import any_process


class Interrupted(SystemExit):
    """The run got a signal to stop, and has saved its state. The exit code is the shell's for the signal."""


class Interruption:
    """Catches the first Ctrl-C or SIGTERM within a block; a second one stops at once.

    Attributes:
        signal: the number of the signal, or None before one comes.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._note)
            except ValueError:  # only the main thread gets signals; a caller in another thread has its own way to stop
                break
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def requested(self, device: Any = "cpu") -> bool:
        """Whether any process got a signal; all processes get the same answer."""
        return any_process(self.signal is not None, device)
