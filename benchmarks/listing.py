"""How long does it take from the option file's folders to the first batch? uir and basicsr, on the same tiny files.

    python benchmarks/listing.py [--pairs 1000 5000 20000 100000] [--cap 120] [--rounds 3]

Listing is the construction of the `PairedImageDataset`: both find the files and their partners. Then the time of the
first batch is measured: the loader, and 16 pairs cropped and flipped, without workers. Each measurement has its own
process, imports are not counted, the two sides alternate, and times are medians. basicsr searches each name in a list,
so its time grows with the square of the number of pairs: a process that takes longer than the cap is ended, and the
table then shows `>`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

LINKS = 30_000  # hard links to one file; ext4 allows 65000
BATCH, PATCH = 16, 16


def make_pairs(folder: Path, count: int) -> None:
    """`count` pairs in folder/gt and folder/lq: hard links of a few files of 32×32 pixels."""
    for kind in ("gt", "lq"):
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            first = folder / f"{kind}{number // LINKS}.png"
            if not first.exists():
                pixels = np.random.default_rng(number // LINKS).integers(0, 256, (32, 32, 3)).astype(np.uint8)
                cv2.imwrite(str(first), pixels)
            os.link(first, folder / kind / f"{number:06d}.png")


def measure_uir(folder: Path) -> tuple[float, float]:
    """Seconds for listing, and seconds from then to the first batch."""
    from uir.data.loading import build_train_loader
    from uir.data.paired_image_dataset import PairedImageDataset

    start = time.perf_counter()
    dataset = PairedImageDataset(str(folder / "gt"), str(folder / "lq"), gt_size=PATCH, use_hflip=True, use_rot=True)
    listed = time.perf_counter()
    loader, sampler = build_train_loader(dataset, batch_size=BATCH, workers=0, seed=0)
    sampler.set_epoch(0)
    batch = next(iter(loader))
    return listed - start, _checked(batch, time.perf_counter() - listed)


def measure_basicsr(folder: Path) -> tuple[float, float]:
    """The same with basicsr's dataset, sampler and loader."""
    from uir.compat import load_basicsr

    load_basicsr()
    from basicsr.data import build_dataloader, build_dataset
    from basicsr.data.data_sampler import EnlargedSampler

    options = {
        "name": "x", "type": "PairedImageDataset", "phase": "train", "scale": 1, "io_backend": {"type": "disk"},
        "dataroot_gt": str(folder / "gt"), "dataroot_lq": str(folder / "lq"), "gt_size": PATCH,
        "use_hflip": True, "use_rot": True, "batch_size_per_gpu": BATCH, "num_worker_per_gpu": 0,
    }  # fmt: skip
    start = time.perf_counter()
    dataset = build_dataset(options)
    listed = time.perf_counter()
    sampler = EnlargedSampler(dataset, 1, 0, 1)
    loader = build_dataloader(dataset, options, num_gpu=0, dist=True, sampler=sampler, seed=0)
    sampler.set_epoch(0)
    batch = next(iter(loader))
    return listed - start, _checked(batch, time.perf_counter() - listed)


def _checked(batch: dict, seconds: float) -> float:
    if tuple(batch["lq"].shape) != (BATCH, 3, PATCH, PATCH):
        raise ValueError(f"a batch of {BATCH} patches was expected, not {tuple(batch['lq'].shape)}")
    return seconds


def run_apart(side: str, folder: Path, cap: float) -> tuple[float, float] | None:
    """One measurement in a separate process; None if it took longer than `cap` seconds."""
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=cap, env=environment)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise RuntimeError(f"{side}: {done.stderr}")
    listing, first = json.loads(done.stdout.splitlines()[-1])
    return listing, first


def compare(count: int, rounds: int, cap: float) -> list[str]:
    """A row of the table."""
    taken: dict[str, list[tuple[float, float]]] = {"uir": [], "basicsr": []}
    with tempfile.TemporaryDirectory(prefix="listing_") as name:
        make_pairs(Path(name), count)
        for number in range(rounds):
            for side, times in taken.items():
                slow = bool(times) and sum(times[0]) > 20  # a long measurement is not repeated
                if number and (slow or not times):
                    continue
                result = run_apart(side, Path(name), cap)
                if result:
                    times.append(result)
    ours = [statistics.median(column) for column in zip(*taken["uir"], strict=True)]
    row = [f"{count}", f"{ours[0]:.3f}", f"{ours[1]:.3f}"]
    if not taken["basicsr"]:
        return [*row, f"> {cap:.0f}", "-", f"> {cap / sum(ours):.0f}"]
    theirs = [statistics.median(column) for column in zip(*taken["basicsr"], strict=True)]
    return [*row, f"{theirs[0]:.3f}", f"{theirs[1]:.3f}", f"{sum(theirs) / sum(ours):.1f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 5000, 20_000, 100_000])
    parser.add_argument("--cap", type=float, default=120, help="seconds after which a measurement is ended")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=["uir", "basicsr"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        measure = {"uir": measure_uir, "basicsr": measure_basicsr}[arguments.side]
        print(json.dumps(measure(arguments.folder)))
        return
    table = Table(
        "pairs", "uir: listing [s]", "first batch [s]", "basicsr: listing [s]", "first batch [s]", "basicsr / uir",
        title=f"From folders to the first batch (load {os.getloadavg()[0]:.1f})",
    )  # fmt: skip
    for count in arguments.pairs:
        table.add_row(*compare(count, arguments.rounds, arguments.cap))
    Console().print(table)


if __name__ == "__main__":
    main()
