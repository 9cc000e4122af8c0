"""How many megapixels a second does one CPU thread train on, for several restorers of at most two million parameters?

    python benchmarks/small_restorers.py [--rounds 5] [--options options/train/uir_small.yml]

A step is the forward and backward pass of an L1 loss on a batch of 8 patches of 96×96. The networks take turns, so that
other programs on the machine disturb all of them alike; times are CPU times, medians of the rounds. Then the time to
load and degrade a patch is measured for every task of an option file, if its photographs are there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from uir.archs.half_nafnet_arch import HalfNAFNet
from uir.archs.nafnet_arch import NAFNet
from uir.archs.restormer_arch import Restormer
from uir.config.options import load_options
from uir.core.seeds import derive_seed
from uir.registry.components import build

BATCH, SIDE = 8, 96
PATCHES = 24  # of each task
THREE_LEVELS = {"enc_blk_nums": [0, 2, 2], "middle_blk_num": 4}
TWO_LEVELS = {"enc_blk_nums": [2, 2], "middle_blk_num": 4, "dec_blk_nums": [2, 2]}


class PlainBlock(nn.Module):
    """Two 3×3 convolutions with a ReLU between them, and a shortcut: the block of EDSR."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        return x + self.body(x)


def plain(width: int, encoder: list[int], middle: int, decoder: list[int]) -> nn.Module:
    """HalfNAFNet with plain blocks."""
    network = HalfNAFNet(width=width, enc_blk_nums=encoder, middle_blk_num=middle, dec_blk_nums=decoder)
    levels = len(encoder)
    stages = [*enumerate(network.encoders), (levels, network.middle_blks)]
    stages += [(levels - 1 - index, stage) for index, stage in enumerate(network.decoders)]
    for level, stage in stages:
        for index in range(len(stage)):
            stage[index] = PlainBlock(width * 2**level)
    return network


DESIGNS: dict[str, Callable[[], nn.Module]] = {
    "NAFNet, width 16, [1, 1, 2] 2 [1, 1, 1]": lambda: NAFNet(
        width=16, enc_blk_nums=[1, 1, 2], middle_blk_num=2, dec_blk_nums=[1, 1, 1]
    ),
    "NAFNet, width 24, [0, 2, 2] 4 [0, 2, 2]": lambda: NAFNet(width=24, dec_blk_nums=[0, 2, 2], **THREE_LEVELS),
    "NAFNet, width 24, [0, 2, 2] 4 [1, 2, 2]": lambda: NAFNet(width=24, dec_blk_nums=[1, 2, 2], **THREE_LEVELS),
    "HalfNAFNet, width 48, [2, 2] 4 [2, 2]": lambda: HalfNAFNet(width=48, **TWO_LEVELS),
    "HalfNAFNet, width 32, [2, 2] 4 [2, 2]": lambda: HalfNAFNet(width=32, **TWO_LEVELS),
    "the same with plain blocks, width 48, [2, 1] 1 [1, 2]": lambda: plain(48, [2, 1], 1, [1, 2]),
    "Restormer, width 16, [1, 1, 1, 2], refinement 1": lambda: Restormer(
        dim=16, num_blocks=[1, 1, 1, 2], num_refinement_blocks=1, heads=[1, 2, 4, 8]
    ),
}


def step_time(network: nn.Module, lq: Tensor, gt: Tensor, precision: str) -> float:
    """CPU seconds of one forward and backward pass."""
    start = time.process_time()
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        restored = network(lq)
    F.l1_loss(restored.float(), gt).backward()
    return time.process_time() - start


def networks_table(rounds: int) -> Table:
    """Parameters and training speed of every design, in fp32 and bf16."""
    table = Table(title=f"Training on {BATCH} patches of {SIDE}×{SIDE}, one thread, load {os.getloadavg()[0]:.1f}")
    for column in ("network", "parameters", "fp32, MP/s", "bf16, MP/s"):
        table.add_column(column, justify="left" if column == "network" else "right")
    generator = torch.Generator().manual_seed(0)
    lq, gt = (torch.rand(BATCH, 3, SIDE, SIDE, generator=generator) for _ in range(2))
    networks = {name: make() for name, make in DESIGNS.items()}
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds + 1):  # the first turn warms up
        for name, network in networks.items():
            for precision in ("fp32", "bf16"):
                taken = step_time(network, lq, gt, precision)
                if turn:
                    times.setdefault((name, precision), []).append(taken)
    megapixels = BATCH * SIDE**2 / 1e6
    for name, network in networks.items():
        speeds = [f"{megapixels / statistics.median(times[name, precision]):.3f}" for precision in ("fp32", "bf16")]
        count = sum(parameter.numel() for parameter in network.parameters())
        table.add_row(name, f"{count / 1e6:.2f} M", *speeds)
    return table


def loading_table(train: dict[str, Any]) -> Table:
    """Milliseconds to load and degrade one patch of every task."""
    table = Table(title="Loading and degrading a patch, one thread")
    table.add_column("task")
    table.add_column("ms", justify="right")
    shared = {"gt_size": SIDE, "phase": "train", "use_hflip": True, "use_rot": True}
    for task, spec in train["tasks"].items():
        dataset = build("datasets", spec, context={**shared, "label": task})
        start = time.process_time()
        for index in range(PATCHES):
            dataset.sample(derive_seed(0, task, index) % len(dataset), index)
        table.add_row(task, f"{1e3 * (time.process_time() - start) / PATCHES:.1f}")
    return table


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each network and precision")
    parser.add_argument("--options", type=Path, default=Path("options/train/uir_small.yml"), help="file with the tasks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120)
    console.print(networks_table(arguments.rounds))
    train = load_options(arguments.options).raw["datasets"]["train"]
    folder = Path(next(iter(train["tasks"].values()))["dataroot_gt"])
    console.print(loading_table(train) if folder.is_dir() else f"{folder}: there is no such folder; nothing is loaded")


if __name__ == "__main__":
    main()
