"""What does it gain that freed memory stays with the process (`uir/core/allocator.py`)?

    python benchmarks/allocator.py [--rounds 3]

Each network restores and trains in processes of its own with one thread, with and without, in turn: the median over the
steps of a process, and of that the least of the rounds; seconds of the core, of which the system's for clearing pages.
"""

from __future__ import annotations

import argparse
import json
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


def measure(name: str, job: str, keeps: bool) -> dict[str, float]:
    """Median milliseconds of a step, those of the system among them, and the pages that a step clears."""
    import torch

    from uir.core.allocator import keep_freed_memory
    from uir.registry.components import build

    if keeps and not keep_freed_memory():
        raise SystemExit("another C library than glibc, or a variable of the environment sets the allocator")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    options, batch, side = NETWORKS[name]
    network, image = build("archs", options), torch.rand(batch, 3, side, side)
    step = _training(network, image) if job == "train" else _restoring(network, image)
    step()
    step()
    before, seconds = resource.getrusage(resource.RUSAGE_SELF), []
    for _ in range(STEPS[job]):
        began = time.process_time()
        step()
        seconds.append(time.process_time() - began)
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
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, job, keeps = arguments.one
        print(json.dumps(measure(name, job, keeps == "keep")))
        return
    from rich.table import Table

    from uir.core.progress import console

    table = Table("network", "step", "plain: ms (system), pages, MiB", "kept: ms (system), pages, MiB", "plain / kept")
    for name in NETWORKS:
        for job in STEPS:
            best: dict[str, dict[str, float]] = {}
            for _ in range(arguments.rounds):
                for how in ("plain", "keep"):
                    words = [sys.executable, __file__, "--one", name, job, how]
                    one = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
                    best[how] = min(best.get(how, one), one, key=lambda value: value["ms"])
            cells = [f"{b['ms']:.0f} ({b['system']:.0f}), {b['pages']:,.0f}, {b['MiB']:.0f}" for b in best.values()]
            table.add_row(name, job, *cells, f"{best['plain']['ms'] / best['keep']['ms']:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
