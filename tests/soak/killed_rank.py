"""Two processes of torchrun, one of which is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from soak.promises import Finding, project

LIMIT_S = 60.0
START_S = 60.0  # until both processes train

# The second process is killed from inside, in the middle of training, as the kernel kills one that takes too much.
KILLING = """
import os, signal
from torch import nn
from uir.registry import LOSS_REGISTRY

@LOSS_REGISTRY.register()
class KillingLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
    def forward(self, restored, gt):
        self.calls += 1
        if os.environ.get("RANK") == "1" and self.calls == 5:
            print("killed now", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return (restored - gt).abs().mean()
"""


def check_killed_rank(folder: Path, count: int) -> Finding:
    """Start two processes `count` times and kill one; how long the other goes on, and whether the rank is named."""
    finding = Finding(
        "If one of several processes is killed, the others end, and the rank is named.",
        f"torchrun with two processes, kill -9 of rank 1 in the middle of training, {count} times",
    )
    waits: list[float] = []
    for number in range(count):
        changes = {
            "plugins": ["./small_net.py", "./killing.py"], "train.total_iter": 100000,
            "train.pixel_opt": {"type": "KillingLoss"}, "network_g": {"type": "PixelShuffleSR"},
            "logger.save_checkpoint_freq": 100000, "val": None,
        }  # fmt: skip
        file = project(folder, changes, f"rank{number}")
        (file.parent / "killing.py").write_text(KILLING, encoding="utf-8")
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
        process = subprocess.Popen(
            [*torchrun, "-m", "uir", "train", "--launcher", "pytorch", "-opt", str(file)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        limit = threading.Timer(START_S + LIMIT_S, os.killpg, (process.pid, signal.SIGKILL))
        limit.start()
        lines, killed_at = [], None
        for line in process.stdout or ():
            lines.append(line)
            if "killed now" in line:
                killed_at = time.monotonic()
        process.wait()
        limit.cancel()
        text = "".join(lines)
        if killed_at is None:
            finding.failures.append(f"run {number}: no process was killed: {text[-300:]}")
            continue
        waits.append(time.monotonic() - killed_at)
        if waits[-1] > LIMIT_S:
            finding.failures.append(f"run {number}: the others went on for {waits[-1]:.0f} s")
        if not re.search(r"rank\s*:?\s*1", text):
            finding.failures.append(f"run {number}: rank 1 is not named: {text[-300:]}")
    finding.figure = f"{len(waits)} times; the others ended after {max(waits, default=0):.1f} s at most"
    return finding
