"""Locks of folders: one run at a time works in each."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from uir.core.distributed import gathered, is_main
from uir.core.files import write_text


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock for the time of a block; the processes of one launcher hold it together.

    The lock is the file `.<name>.lock` beside the folder, because the folder itself may be renamed while it is held.
    The system releases it when its process ends, however it ends.

    Raises:
        ValueError: another run holds the lock.
    """
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    owner_file = folder.with_name(f".{folder.name}.lock.json")
    problem = ""
    made: list[Path] = []
    if is_main():
        made = [place for place in folder.parents if not place.exists()]
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            problem = f"{folder} is in use: {_owner(owner_file)}; wait for it, stop it, or give this run another name"
        else:
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            write_text(owner_file, json.dumps({**owner, "command": " ".join(sys.argv)}))
    try:
        problem = gathered(problem)[0]
        if problem:
            raise ValueError(problem)
        yield
    finally:
        if lock.is_locked:
            owner_file.unlink(missing_ok=True)
            lock.release()
            if made and not folder.exists():  # the run did not start: nothing is left of it
                Path(lock.lock_file).unlink(missing_ok=True)
                with suppress(OSError):  # another run has begun in one of them
                    for place in made:
                        place.rmdir()


def _owner(file: Path) -> str:
    try:
        owner = json.loads(file.read_text(encoding="utf-8"))
        who = f"process {owner['pid']} on {owner['host']} has worked there since {owner['since']}"
        return f"{who} ({owner['command']})"
    except (OSError, ValueError, KeyError):  # it has only just started
        return "another process has just started there"
