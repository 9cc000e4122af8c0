"""How fast is uir's NAFNet on this CPU? It runs alternately with a plain version of the published forward pass.

    python benchmarks/nafnet.py [--rounds 7] [--threads 1 2] [--deep]

Both networks have the same weights, and their outputs are compared before the timing. Times are medians. On a busy
machine only the ratio is useful, so the load is printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from uir.archs.nafnet_arch import NAFNet

SHALLOW = {"middle_blk_num": 2, "enc_blk_nums": [1, 1, 2], "dec_blk_nums": [1, 1, 1]}
DEEP = {"middle_blk_num": 1, "enc_blk_nums": [1, 1, 1, 28], "dec_blk_nums": [1, 1, 1, 1]}


class _PlainLayerNormFunction(torch.autograd.Function):
    """Layer normalisation over dimension 1 with its closed-form gradient, as published networks write it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        deviation = ((x - mean).pow(2).mean(1, keepdim=True) + 1e-6).sqrt()
        normalised = (x - mean) / deviation
        ctx.save_for_backward(normalised, deviation, weight)
        return weight.view(1, -1, 1, 1) * normalised + bias.view(1, -1, 1, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        normalised, deviation, weight = ctx.saved_tensors
        scaled = gradient * weight.view(1, -1, 1, 1)
        along = (scaled * normalised).mean(1, keepdim=True)
        to_x = (scaled - normalised * along - scaled.mean(1, keepdim=True)) / deviation
        return to_x, (gradient * normalised).sum((0, 2, 3)), gradient.sum((0, 2, 3))


class _PlainLayerNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return _PlainLayerNormFunction.apply(x, self.weight, self.bias)


class _PlainBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.norm1, self.norm2 = _PlainLayerNorm(channels), _PlainLayerNorm(channels)
        self.conv1 = nn.Conv2d(channels, wide, 1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.conv4 = nn.Conv2d(channels, wide, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.conv2(self.conv1(self.norm1(x))).chunk(2, dim=1)
        branch = first * second
        x = x + self.conv3(branch * self.sca(branch)) * self.beta
        first, second = self.conv4(self.norm2(x)).chunk(2, dim=1)
        return x + self.conv5(first * second) * self.gamma


class PlainNAFNet(nn.Module):
    """NAFNet as in the paper, one operation after another; keys and arguments as in `NAFNet`."""

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.intro = nn.Conv2d(img_channel, width, 3, padding=1)
        self.ending = nn.Conv2d(width, img_channel, 3, padding=1)
        self.encoders, self.decoders = nn.ModuleList(), nn.ModuleList()
        self.ups, self.downs = nn.ModuleList(), nn.ModuleList()
        for count in enc_blk_nums:
            self.encoders.append(nn.Sequential(*(_PlainBlock(width) for _ in range(count))))
            self.downs.append(nn.Conv2d(width, 2 * width, 2, stride=2))
            width *= 2
        self.middle_blks = nn.Sequential(*(_PlainBlock(width) for _ in range(middle_blk_num)))
        for count in dec_blk_nums:
            self.ups.append(nn.Sequential(nn.Conv2d(width, 2 * width, 1, bias=False), nn.PixelShuffle(2)))
            width //= 2
            self.decoders.append(nn.Sequential(*(_PlainBlock(width) for _ in range(count))))

    def forward(self, lq: Tensor) -> Tensor:
        height, width = lq.shape[-2:]
        multiple = 2 ** len(self.encoders)
        padded = F.pad(lq, (0, -width % multiple, 0, -height % multiple))
        x, skips = self.intro(padded), []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(up(x) + skips.pop())
        return (self.ending(x) + padded)[..., :height, :width]


def make_pair(**arguments: Any) -> tuple[nn.Module, nn.Module]:
    """The plain network and uir's, with the same weights; all their branches are active."""
    torch.manual_seed(0)
    plain, ours = PlainNAFNet(**arguments), NAFNet(**arguments)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    ours.load_state_dict(plain.state_dict(), strict=True)
    return plain, ours


@torch.no_grad()
def infer(network: nn.Module, lq: Tensor) -> None:
    """One forward pass."""
    network(lq)


def train_step(network: nn.Module, lq: Tensor) -> None:
    """One forward and backward pass of an L1 loss."""
    network.zero_grad()
    F.l1_loss(network(lq), torch.zeros_like(lq)).backward()


def alternate(
    networks: Sequence[nn.Module], run: Callable[[nn.Module, Tensor], None], lq: Tensor, rounds: int
) -> list[float]:
    """Median milliseconds of each network, timed in turns."""
    times: list[list[float]] = [[] for _ in networks]
    for turn in range(rounds + 1):  # the first turn warms up
        for network, taken in zip(networks, times, strict=True):
            start = time.perf_counter()
            run(network, lq)
            if turn:
                taken.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(taken) for taken in times]


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds per case")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--deep", action="store_true", help="the published 36-block configuration too")
    options = parser.parse_args()
    table = Table(title="NAFNet: plain rendering of the published forward pass, and uir's (median ms)")
    for column in ("configuration", "step", "batch", "threads", "load", "plain", "uir", "ratio", "max difference"):
        table.add_column(column, justify="left" if column in ("configuration", "step") else "right")
    cases = [("shallow", SHALLOW)] + [("deep", DEEP)] * options.deep
    for threads in options.threads:
        torch.set_num_threads(threads)
        for label, arguments in cases:
            for width in (16, 32):
                plain, ours = make_pair(width=width, **arguments)
                for step, run, batch, size in [
                    ("inference", infer, 1, 128), ("inference", infer, 1, 256), ("training", train_step, 4, 128),
                ]:  # fmt: skip
                    lq = torch.rand(batch, 3, size, size)
                    with torch.no_grad():
                        difference = (plain(lq) - ours(lq)).abs().max().item()
                    before, after = alternate([plain, ours], run, lq, options.rounds)
                    table.add_row(
                        f"{label}, width {width}", step, f"{batch}×{size}²", str(threads), f"{os.getloadavg()[0]:.1f}",
                        f"{before:.1f}", f"{after:.1f}", f"{before / after:.2f}×", f"{difference:.0e}",
                    )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
