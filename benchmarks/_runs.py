"""Training runs in a folder, by ordinary option files and within a time: what measurements by training share."""

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
    """Runs of `uir train`. Those that are done are kept, and one that the time cut off goes on the next time.

    Args:
        folder: where option files, runs and logs go; the root of the files' paths.
        minutes: time for training, from now on.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder = folder.resolve()
        self.deadline = time.monotonic() + 60 * minutes

    def file_of(self, content: Mapping[str, Any]) -> Path:
        """An option file in the folder, by its name; a run of other options is never mixed up with this one."""
        path = self.folder / "options" / f"{content['name']}.yml"
        text = yaml.safe_dump(dict(content), sort_keys=False)
        if path.exists() and path.read_text() != text:
            sys.exit(f"{path} differs from what these arguments make of it; give another --folder")
        write_text(path, text)
        return path

    def weights(self, run: str, role: str = "g") -> Path:
        """The last weights of a run; they exist once it is done."""
        return self.folder / "experiments" / run / "models" / f"net_{role}_latest.pth"

    def train(self, file: Path) -> bool:
        """Run `uir train` until it is done or the time is up; whether it is done."""
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
