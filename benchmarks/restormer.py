"""How fast is uir's Restormer on this CPU? It runs alternately with a plain version of the published forward pass.

    python benchmarks/restormer.py [--rounds 5] [--threads 1 2] [--full]

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

from uir.archs.restormer_arch import Restormer

SMALL = {"dim": 16, "num_blocks": [1, 1, 1, 2], "num_refinement_blocks": 1}
FULL = {"dim": 48, "num_blocks": [4, 6, 6, 8], "num_refinement_blocks": 4}


class _PlainNorm(nn.Module):
    """Normalises tokens: an image is reshaped to [B, H·W, C], normalised, and reshaped back."""

    def __init__(self, channels: int, kind: str) -> None:
        super().__init__()
        self.body = nn.Module()
        self.body.weight = nn.Parameter(torch.ones(channels))
        self.body.bias = nn.Parameter(torch.zeros(channels)) if kind == "WithBias" else None

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2).contiguous()
        variance = tokens.var(-1, keepdim=True, unbiased=False)
        if self.body.bias is None:
            tokens = tokens / torch.sqrt(variance + 1e-5) * self.body.weight
        else:
            centred = tokens - tokens.mean(-1, keepdim=True)
            tokens = centred / torch.sqrt(variance + 1e-5) * self.body.weight + self.body.bias
        return tokens.transpose(1, 2).unflatten(2, (height, width)).contiguous()


class _PlainAttention(nn.Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=False)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        parts = self.qkv_dwconv(self.qkv(x)).chunk(3, dim=1)
        queries, keys, values = (part.flatten(2).unflatten(1, (self.heads, -1)).contiguous() for part in parts)
        scores = F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).transpose(-2, -1) * self.temperature
        attended = scores.softmax(-1) @ values
        return self.project_out(attended.flatten(1, 2).unflatten(2, (height, width)))


class _PlainFeedForward(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = int(channels * 2.66)
        self.project_in = nn.Conv2d(channels, 2 * hidden, 1, bias=False)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, passed = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(F.gelu(gate) * passed)


class _PlainBlock(nn.Module):
    def __init__(self, channels: int, heads: int, kind: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = _PlainNorm(channels, kind), _PlainNorm(channels, kind)
        self.attn, self.ffn = _PlainAttention(channels, heads), _PlainFeedForward(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


def _resample(channels_in: int, channels_out: int, shuffle: nn.Module) -> nn.Module:
    holder = nn.Module()
    holder.body = nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), shuffle)
    return holder


class PlainRestormer(nn.Module):
    """Restormer as in the paper, one operation after another; keys and arguments as in `Restormer`."""

    def __init__(
        self,
        dim: int,
        num_blocks: Sequence[int],
        num_refinement_blocks: int,
        heads: Sequence[int] = (1, 2, 4, 8),
        LayerNorm_type: str = "WithBias",  # noqa: N803
    ) -> None:
        super().__init__()

        def stage(count: int, channels: int, level: int) -> nn.Sequential:
            return nn.Sequential(*(_PlainBlock(channels, heads[level], LayerNorm_type) for _ in range(count)))

        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, dim, 3, padding=1, bias=False)
        for level in (1, 2, 3):
            channels = dim * 2 ** (level - 1)
            wide = channels if level > 1 else 2 * dim
            self.add_module(f"encoder_level{level}", stage(num_blocks[level - 1], channels, level - 1))
            self.add_module(f"decoder_level{level}", stage(num_blocks[level - 1], wide, level - 1))
            self.add_module(f"down{level}_{level + 1}", _resample(channels, channels // 2, nn.PixelUnshuffle(2)))
            self.add_module(f"up{level + 1}_{level}", _resample(2 * channels, 4 * channels, nn.PixelShuffle(2)))
            if level > 1:
                self.add_module(f"reduce_chan_level{level}", nn.Conv2d(2 * channels, channels, 1, bias=False))
        self.latent = stage(num_blocks[3], 8 * dim, 3)
        self.refinement = stage(num_refinement_blocks, 2 * dim, 0)
        self.output = nn.Conv2d(2 * dim, 3, 3, padding=1, bias=False)

    def forward(self, lq: Tensor) -> Tensor:
        level1 = self.encoder_level1(self.patch_embed.proj(lq))
        level2 = self.encoder_level2(self.down1_2.body(level1))
        level3 = self.encoder_level3(self.down2_3.body(level2))
        x = self.up4_3.body(self.latent(self.down3_4.body(level3)))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([x, level3], 1)))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2.body(x), level2], 1)))
        x = self.refinement(self.decoder_level1(torch.cat([self.up2_1.body(x), level1], 1)))
        return self.output(x) + lq


def make_pair(**arguments: Any) -> tuple[nn.Module, nn.Module]:
    """The plain network and uir's, with the same weights."""
    torch.manual_seed(0)
    plain, ours = PlainRestormer(**arguments), Restormer(**arguments)
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
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds per case")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--full", action="store_true", help="the published configuration too")
    options = parser.parse_args()
    table = Table(title="Restormer: plain rendering of the published forward pass, and uir's (median ms)")
    for column in ("configuration", "step", "batch", "threads", "load", "plain", "uir", "ratio", "max difference"):
        table.add_column(column, justify="left" if column in ("configuration", "step") else "right")
    cases = [(f"small, {kind}", {**SMALL, "LayerNorm_type": kind}) for kind in ("WithBias", "BiasFree")]
    cases += [("full, WithBias", FULL)] * options.full
    for threads in options.threads:
        torch.set_num_threads(threads)
        for label, arguments in cases:
            plain, ours = make_pair(**arguments)
            for step, run, batch, size in [
                ("inference", infer, 1, 128), ("inference", infer, 1, 256), ("training", train_step, 2, 128),
            ]:  # fmt: skip
                lq = torch.rand(batch, 3, size, size)
                with torch.no_grad():
                    difference = (plain(lq) - ours(lq)).abs().max().item()
                before, after = alternate([plain, ours], run, lq, options.rounds)
                table.add_row(
                    label, step, f"{batch}×{size}²", str(threads), f"{os.getloadavg()[0]:.1f}",
                    f"{before:.1f}", f"{after:.1f}", f"{before / after:.2f}×", f"{difference:.0e}",
                )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
