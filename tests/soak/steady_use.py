"""Hours of training and restoring in one process: memory, open files and temporary files stay as they are."""

from __future__ import annotations

import logging
import os
import statistics
import time
from pathlib import Path
from typing import Any

from soak.children import run_child
from soak.promises import Finding, project

LIMIT_MB = 20.0  # between the medians of the second and the last quarter


def check_steady_use(folder: Path, seconds: int) -> Finding:
    """Train, validate, restore and test again and again for so many seconds, and watch what the process holds."""
    finding = Finding(
        "Training and restoring hold no more memory, open files or temporary files the longer they go on.",
        f"{seconds / 60:.1f} minutes of short trainings, validations and restored photographs in one process",
    )
    ended = run_child(use_for, folder, float(seconds), seconds=seconds * 3 + 300.0)
    if ended.code != 0:
        finding.failures.append(f"the process ended with code {ended.code}: {ended.output[-300:]}")
        return finding
    rows: list[dict[str, float]] = ended.value
    # the first quarter fills caches
    quarter = max(len(rows) // 4, 1)
    growth = {key: _median(rows[-quarter:], key) - _median(rows[quarter : 2 * quarter] or rows, key) for key in rows[0]}
    for key, limit in (("memory_mb", LIMIT_MB), ("open_files", 0), ("temporary_files", 0), ("threads", 0)):
        if growth[key] > limit:
            finding.failures.append(f"{key}: {growth[key]:+g} from the second quarter to the last (limit {limit:g})")
    finding.figure = (
        f"{len(rows)} rounds; memory {growth['memory_mb']:+.1f} MB of {rows[-1]['memory_mb']:.0f} MB, "
        f"open files {growth['open_files']:+.0f}, threads {growth['threads']:+.0f}, "
        f"temporary files {growth['temporary_files']:+.0f}"
    )
    return finding


def use_for(folder: Path, seconds: float) -> list[dict[str, float]]:
    """Rounds of training with loader processes and of restoring in tiles; what the process holds after each."""
    import tempfile

    from uir.config.options import load_options
    from uir.engine.train_loop import train
    from uir.inference.image_files import restore_files
    from uir.inference.restorer import Restorer

    temporary = folder / "temporary"
    temporary.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    logging.getLogger("uir").setLevel(logging.CRITICAL)
    file = project(folder, {"datasets.train.num_worker_per_gpu": 1, "train.ema_decay": 0.9})
    weights = folder / "experiments" / "run" / "models" / "net_g_latest.pth"
    images = sorted((folder / "pairs" / "lq").iterdir())
    rows: list[dict[str, float]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(rows) < 8:
        train(load_options(file, force=["train:total_iter=12"]), auto_resume=False)
        restorer = Restorer.from_pretrained(weights, tile=16)
        restore_files(restorer, images, folder / "out", overwrite=True)
        for archived in (folder / "experiments").glob("run_archived_*"):
            import shutil

            shutil.rmtree(archived)
        rows.append(_held(temporary))
    return rows


def _held(temporary: Path) -> dict[str, float]:
    status = Path("/proc/self/status").read_text()
    values = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if len(line.split()) > 1}
    return {
        "memory_mb": int(values["VmRSS"]) / 1024,
        "threads": float(values["Threads"]),
        "open_files": float(len(os.listdir("/proc/self/fd"))),
        "temporary_files": float(sum(1 for _ in temporary.rglob("*"))),
    }


def _median(rows: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(row[key] for row in rows))
