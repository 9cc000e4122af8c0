"""Training runs in a folder, with ordinary option files and a time limit: the common part of two benchmarks."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from uir.core.files import write_text
from uir.core.progress import console


class Runs:
    """Runs of `uir train`. Complete runs are not repeated, and a run that the time limit stopped continues next time.

    Args:
        folder: folder of option files, runs and logs; the root of the files' paths.
        minutes: time for training, from now on.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder = folder.resolve()
        self.deadline = time.monotonic() + 60 * minutes

    def file_of(self, content: Mapping[str, Any]) -> Path:
        """Write an option file to the folder, by its name; it never replaces a file with other options."""
        path = self.folder / "options" / f"{content['name']}.yml"
        text = yaml.safe_dump(dict(content), sort_keys=False)
        if path.exists() and path.read_text() != text:
            sys.exit(f"{path}: the file is from a run with other arguments; give another --folder")
        write_text(path, text)
        return path

    def weights(self, run: str, role: str = "g") -> Path:
        """The last weights of a run; they exist after it is complete."""
        return self.folder / "experiments" / run / "models" / f"net_{role}_latest.pth"

    def train(self, file: Path) -> bool:
        """Run `uir train` until it is complete or the time is over; gives whether it is complete."""
        done = self.folder / "done" / file.stem
        left = self.deadline - time.monotonic()
        if done.exists() or left <= 0:
            return done.exists()
        console.print(f"training {file.stem}, {left / 60:.1f} minutes are left")
        command = [sys.executable, "-m", "uir.train", "-opt", str(file), "--root", str(self.folder), "--auto_resume"]
        log = self.folder / "logs" / f"{file.stem}.txt"
        log.parent.mkdir(exist_ok=True)
        with log.open("a") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
            try:
                code = process.wait(left)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)  # writes its state and ends
                process.wait()
                return False
        if code:
            sys.exit(f"{file}: training ended with code {code}; see {log}")
        write_text(done, "")
        return True
