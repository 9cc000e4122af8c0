"""How fast is uir's DASR on this CPU? It runs alternately with a plain version of the published forward pass.

    python benchmarks/dasr.py [--rounds 5] [--threads 1 2] [--size 180 320] [--scale 4]
    python benchmarks/dasr.py --training --batch 32 --size 48 48 --network 2 2 32 --threads 1

Both have the same weights and get the same code; their outputs (in training: the gradients of all weights) are compared
before the timing, relative to the largest. Times are medians. On a busy machine only the ratio is useful, so the load
is printed. Memory is the largest amount that one pass adds to the process; each network has its own process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from uir.archs.dasr_arch import DASR
from uir.layers.degradation_code import DegradationCode


class _PlainDAConv(nn.Module):
    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.kernel = nn.Sequential(
            nn.Linear(channels, channels, bias=False), nn.LeakyReLU(0.1), nn.Linear(channels, 9 * channels, bias=False)
        )
        self.conv = nn.Conv2d(channels, channels, 1)
        self.ca = nn.Module()
        self.ca.conv_du = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1, bias=False),
            nn.LeakyReLU(0.1),
            nn.Conv2d(channels // reduction, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        kernels = self.kernel(code).view(batch * channels, 1, 3, 3)
        filtered = F.conv2d(x.reshape(1, -1, height, width), kernels, groups=batch * channels, padding=1)
        mixed = self.conv(F.leaky_relu(filtered, 0.1).view(batch, channels, height, width))
        return mixed + x * self.ca.conv_du(code[:, :, None, None])


class _PlainBlock(nn.Module):
    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.da_conv1, self.da_conv2 = _PlainDAConv(channels, reduction), _PlainDAConv(channels, reduction)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        branch = F.leaky_relu(self.da_conv1(x, code), 0.1)
        branch = F.leaky_relu(self.conv1(branch), 0.1)
        branch = F.leaky_relu(self.da_conv2(branch, code), 0.1)
        return self.conv2(branch) + x


class _PlainGroup(nn.Module):
    def __init__(self, channels: int, n_blocks: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.ModuleList(_PlainBlock(channels, reduction) for _ in range(n_blocks))
        self.body.append(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        branch = x
        for block in self.body[:-1]:
            branch = block(branch, code)
        return self.body[-1](branch) + x


class PlainDASR(nn.Module):
    """DASR as in the paper, one operation after another; keys and arguments as in `DASR`, images from 0 to 255."""

    def __init__(
        self,
        scale: int = 4,
        n_groups: int = 5,
        n_blocks: int = 5,
        n_feats: int = 64,
        reduction: int = 8,
        code_channels: int = 256,
    ) -> None:
        super().__init__()
        self.sub_mean, self.add_mean = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.head = nn.Sequential(nn.Conv2d(3, n_feats, 3, padding=1))
        self.compress = nn.Sequential(nn.Linear(code_channels, n_feats, bias=False), nn.LeakyReLU(0.1))
        self.body = nn.ModuleList(_PlainGroup(n_feats, n_blocks, reduction) for _ in range(n_groups))
        self.body.append(nn.Conv2d(n_feats, n_feats, 3, padding=1))
        upsampler: list[nn.Module] = []
        for factor in [scale] if scale == 3 else [2] * (scale.bit_length() - 1):
            upsampler += [nn.Conv2d(n_feats, n_feats * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
        self.tail = nn.Sequential(nn.Sequential(*upsampler), nn.Conv2d(n_feats, 3, 3, padding=1))

    def forward(self, lq: Tensor, vector: Tensor) -> Tensor:
        code = self.compress(vector)
        shallow = self.head(self.sub_mean(lq))
        x = shallow
        for group in self.body[:-1]:
            x = group(x, code)
        return self.add_mean(self.tail(self.body[-1](x) + shallow))


def make_pair(**arguments: Any) -> tuple[PlainDASR, DASR]:
    """The plain network and uir's, with the same weights."""
    torch.manual_seed(0)
    ours, plain = DASR(**arguments).eval(), PlainDASR(**arguments).eval()
    plain.load_state_dict(ours.state_dict(), strict=True)
    for shift in (plain.sub_mean, plain.add_mean):
        shift.requires_grad_(False)
    return plain, ours


def run(network: nn.Module, lq: Tensor, vector: Tensor) -> Tensor:
    """One forward pass, [0, 1] to [0, 1]."""
    if isinstance(network, PlainDASR):
        return network(lq * 255, vector) / 255
    return network(lq, DegradationCode(vector=vector))


def train(network: nn.Module, lq: Tensor, vector: Tensor) -> Tensor:
    """One forward and backward pass; the gradients of all weights in one vector."""
    network.zero_grad()
    run(network, lq, vector).square().mean().backward()
    return torch.cat(
        [weight.grad.flatten() for _, weight in sorted(network.named_parameters()) if weight.requires_grad]
    )


Step = Callable[[nn.Module, Tensor, Tensor], Tensor]


def alternate(step: Step, networks: Sequence[nn.Module], lq: Tensor, vector: Tensor, rounds: int) -> list[float]:
    """Median milliseconds that each network takes for a step, timed in turns."""
    times: list[list[float]] = [[] for _ in networks]
    for turn in range(rounds + 1):  # the first turn warms up
        for network, taken in zip(networks, times, strict=True):
            start = time.perf_counter()
            step(network, lq, vector)
            if turn:
                taken.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(taken) for taken in times]


@torch.no_grad()
def peak_memory(which: int, scale: int, size: Sequence[int]) -> float:
    """Mebibytes that one pass adds to this process at its peak."""
    network = make_pair(scale=scale)[which]
    lq, vector = torch.rand(1, 3, *size), torch.randn(1, 256)
    before = peak_so_far()
    run(network, lq, vector)
    return peak_so_far() - before


def peak_so_far() -> float:
    """The largest memory of this process so far in MiB (Linux; `getrusage` would include the parent's memory)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def memory_of_both(scale: int, size: Sequence[int]) -> list[float]:
    """The peak of each network, in a separate process.

    Raises:
        BrokenProcessPool: such a process was killed, for example because there was not enough memory.
    """
    peaks = []
    for which in (0, 1):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            peaks.append(pool.submit(peak_memory, which, scale, size).result())
    return peaks


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds per case")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--size", type=int, nargs=2, default=[180, 320], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--training", action="store_true", help="time a forward and backward pass; no memory")
    sizes = ("GROUPS", "BLOCKS", "CHANNELS")
    parser.add_argument("--network", type=int, nargs=3, default=[5, 5, 64], metavar=sizes, help="default: as published")
    options = parser.parse_args()
    what = "training" if options.training else "forward pass"
    table = Table(title=f"DASR: plain version of the published {what}, and uir's (median ms)")
    for column in ("input", "scale", "threads", "load", "plain", "uir", "ratio", "largest difference"):
        table.add_column(column, justify="right")
    groups, blocks, channels = options.network
    plain, ours = make_pair(scale=options.scale, n_groups=groups, n_blocks=blocks, n_feats=channels)
    lq, vector = torch.rand(options.batch, 3, *options.size), torch.randn(options.batch, 256)
    step = train if options.training else torch.no_grad()(run)
    wanted = step(plain, lq, vector)
    difference = ((wanted - step(ours, lq, vector)).abs().max() / wanted.abs().max()).item()
    for threads in options.threads:
        torch.set_num_threads(threads)
        before, after = alternate(step, [plain, ours], lq, vector, options.rounds)
        table.add_row(
            f"{options.batch}×{options.size[0]}×{options.size[1]}", f"×{options.scale}", str(threads),
            f"{os.getloadavg()[0]:.1f}", f"{before:.0f}", f"{after:.0f}", f"{before / after:.2f}×",
            f"{difference:.0e}",
        )  # fmt: skip
    console = Console(width=120)
    console.print(table)
    if options.training:
        return
    peaks = memory_of_both(options.scale, options.size)
    console.print(f"Peak memory of one pass of one image: plain {peaks[0]:.0f} MiB, uir {peaks[1]:.0f} MiB")


if __name__ == "__main__":
    main()
