"""What does it gain that freed memory stays with the process, in huge pages (`uir/core/allocator.py`)?

    python benchmarks/allocator.py [--rounds 3] [--threads 1] [--networks "NAFNet, width 16" ...]

Each network restores and trains in processes of its own, without, with, and with small pages alone, in turn: the median
over the steps of a process, and of that the least of the rounds; milliseconds on the clock, of which the system's for
clearing pages, the pages that a step clears, and the most memory. A busy machine needs the milliseconds of the cores
instead (--computing).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

NETWORKS: dict[str, tuple[dict[str, Any], int, int]] = {
    "NAFNet, width 16": (
        {"type": "NAFNet", "width": 16, "enc_blk_nums": [1, 1, 2], "middle_blk_num": 2, "dec_blk_nums": [1] * 3}, 4, 64
    ),
    "NAFNet, width 32": (
        {"type": "NAFNet", "width": 32, "enc_blk_nums": [1, 1, 1, 8], "middle_blk_num": 1, "dec_blk_nums": [1] * 4},
        2, 128,
    ),
    "Restormer": ({"type": "Restormer"}, 1, 128),
    "SwinIR, light": (
        {
            "type": "SwinIR", "embed_dim": 60, "depths": [6] * 4, "num_heads": [6] * 4, "window_size": 8,
            "mlp_ratio": 2, "upscale": 1,
        },
        1, 128,
    ),
}  # network, images of a batch, their side  # fmt: skip
STEPS = {"restore": 5, "train": 5}


HOW = ("plain", "kept, 4 KiB", "kept, 2 MiB")


def measure(name: str, job: str, how: str, is_computing: bool) -> dict[str, float]:
    """Median milliseconds of a step, those of the system among them, and the pages that a step clears."""
    import torch

    from uir.core import allocator
    from uir.registry.components import build

    clock = time.process_time if is_computing else time.perf_counter
    if how == "kept, 4 KiB":
        allocator._ask_for_huge_pages = lambda: None
    if how != "plain" and not allocator.keep_freed_memory():
        raise SystemExit("another C library than glibc, or a variable of the environment sets the allocator")
    torch.manual_seed(0)
    options, batch, side = NETWORKS[name]
    network, image = build("archs", options), torch.rand(batch, 3, side, side)
    step = _training(network, image) if job == "train" else _restoring(network, image)
    step()
    step()
    before, seconds = resource.getrusage(resource.RUSAGE_SELF), []
    for _ in range(STEPS[job]):
        began = clock()
        step()
        seconds.append(clock() - began)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "ms": 1e3 * statistics.median(seconds),
        "system": 1e3 * (after.ru_stime - before.ru_stime) / STEPS[job],
        "pages": (after.ru_minflt - before.ru_minflt) / STEPS[job],
        "MiB": after.ru_maxrss / 1024,
    }


def _training(network: Any, image: Any) -> Callable[[], None]:
    import torch

    optimizer = torch.optim.AdamW(network.parameters())

    def step() -> None:
        optimizer.zero_grad()
        network(image).abs().mean().backward()
        optimizer.step()

    return step


def _restoring(network: Any, image: Any) -> Callable[[], None]:
    import torch

    network.eval()

    @torch.inference_mode()
    def step() -> None:
        network(image)

    return step


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--computing", action="store_true", help="milliseconds of all cores, not on the clock")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one, arguments.computing)))
        return
    from rich.table import Table

    from uir.core.progress import console

    title = f"{arguments.threads} threads: ms (system), pages, MiB"
    table = Table("network", "step", *HOW, *(f"{HOW[0]} / {how}" for how in HOW[1:]), title=title)
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
    words = [sys.executable, __file__, *(["--computing"] if arguments.computing else []), "--one"]
    for name in arguments.networks:
        for job in STEPS:
            best: dict[str, dict[str, float]] = {}
            for _ in range(arguments.rounds):
                for how in HOW:
                    done = subprocess.run([*words, name, job, how], capture_output=True, check=True, env=environment)
                    one = json.loads(done.stdout)
                    best[how] = min(best.get(how, one), one, key=lambda value: value["ms"])
            cells = [f"{b['ms']:.0f} ({b['system']:.0f}), {b['pages']:,.0f}, {b['MiB']:.0f}" for b in best.values()]
            table.add_row(name, job, *cells, *(f"{best[HOW[0]]['ms'] / best[how]['ms']:.2f}" for how in HOW[1:]))
    console.print(table)


if __name__ == "__main__":
    main()
