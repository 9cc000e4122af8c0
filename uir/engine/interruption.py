"""Ctrl-C and SIGTERM: finish the iteration, save, and say how to go on."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from uir.core.distributed import any_process


class Interrupted(SystemExit):
    """The run was asked to stop, and has saved its state. The exit code is the shell's for the signal."""


class Interruption:
    """Catches the first Ctrl-C or SIGTERM for the time of a block; a second one stops at once.

    Attributes:
        signal: the number of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: whoever runs it there stops it in his own way
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
        """Whether any process was asked to stop; all processes get the same answer."""
        return any_process(self.signal is not None, device)
