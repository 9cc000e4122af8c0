"""Child processes that may be killed: each starts from a server that has imported torch and uir already."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PRELOADED = [
    "torch",
    "cv2",
    "uir.config.options",
    "uir.engine.train_loop",
    "uir.inference.image_files",
    "torch._dynamo",
    "soak.children",
]


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        value: What its function returned, as JSON gives it; None if it did not come to its end.
        code: Its exit code; below 0 it is the number of the signal that ended it.
        hung: Whether it was ended because it took too long.
        output: The last lines that it and the libraries below it printed.
    """

    value: Any
    code: int | None
    hung: bool = False
    output: str = ""


def run_child(
    function: Callable[..., Any], *arguments: Any, seconds: float = 120.0, kill_after: float | None = None
) -> Ended:
    """Call a function of a module in a child and wait for it.

    Args:
        seconds: After so long, it counts as hung and is killed.
        kill_after: Kill it (SIGKILL) so many seconds after it has begun, if it still runs then.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    with tempfile.TemporaryDirectory(prefix="uir_soak_") as folder:
        answer, begun, output = Path(folder, "answer"), Path(folder, "begun"), Path(folder, "output")
        child = context.Process(target=_call, args=(function, arguments, answer, begun, output))
        child.start()
        deadline = time.monotonic() + seconds
        if kill_after is not None:
            while not begun.exists() and child.is_alive() and time.monotonic() < deadline:
                time.sleep(0.002)
            child.join(kill_after)
            if child.is_alive() and child.pid:
                os.kill(child.pid, signal.SIGKILL)
        child.join(max(deadline - time.monotonic(), 0))
        hung = child.is_alive()
        if hung:
            child.kill()
            child.join()
        value = json.loads(answer.read_text()) if answer.exists() and child.exitcode == 0 else None
        printed = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
        return Ended(value, child.exitcode, hung, printed[-2000:])


def kill_myself() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...], answer: Path, begun: Path, output: Path) -> None:
    import torch

    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)

    torch.set_num_threads(1)
    begun.touch()
    value = function(*arguments)
    answer.write_text(json.dumps(value))
