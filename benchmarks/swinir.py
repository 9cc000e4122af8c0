"""How fast is uir's SwinIR on this CPU? It runs alternately with a plain version of the published forward pass.

    python benchmarks/swinir.py [--rounds 5] [--threads 1 2] [--deep]

Both networks have the same weights, and their outputs are compared before the timing. Times are medians. On a busy
machine only the ratio is useful, so the load is printed. The plain network stores its masks; the
published one computes them again in every block if an image does not have the size of the training crops.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from uir.archs.swinir_arch import SwinIR

LIGHT = {"embed_dim": 60, "depths": [6] * 4, "num_heads": [6] * 4, "mlp_ratio": 2, "upscale": 2}
MEDIUM = {"embed_dim": 180, "depths": [6] * 6, "num_heads": [6] * 6, "mlp_ratio": 2, "upscale": 2}
SHALLOW = {**MEDIUM, "depths": [2, 2], "num_heads": [6, 6]}


def _cut(x: Tensor, window: int) -> Tensor:
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window, window, width // window, window, channels)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, window * window, channels)


def _join(windows: Tensor, window: int, height: int, width: int) -> Tensor:
    x = windows.view(-1, height // window, width // window, window, window, windows.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, height, width, windows.shape[-1])


class _PlainAttention(nn.Module):
    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        places = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        offsets = places[:, :, None] - places[:, None, :] + window - 1
        self.register_buffer("index", offsets[0] * (2 * window - 1) + offsets[1], persistent=False)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        count, tokens, channels = x.shape
        parts = self.qkv(x).reshape(count, tokens, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = parts[0] * (channels // self.heads) ** -0.5, parts[1], parts[2]
        logits = q @ k.transpose(-2, -1)
        bias = self.relative_position_bias_table[self.index.view(-1)].view(tokens, tokens, -1)
        logits = logits + bias.permute(2, 0, 1).contiguous().unsqueeze(0)
        if mask is not None:
            logits = logits.view(-1, len(mask), self.heads, tokens, tokens) + mask.unsqueeze(1).unsqueeze(0)
            logits = logits.view(-1, self.heads, tokens, tokens)
        return self.proj((logits.softmax(-1) @ v).transpose(1, 2).reshape(count, tokens, channels))


class _PlainBlock(nn.Module):
    def __init__(self, channels: int, heads: int, window: int, shift: int, mlp_ratio: float) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        hidden = int(channels * mlp_ratio)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = _PlainAttention(channels, heads, window)
        self.mlp = nn.Sequential(
            OrderedDict(fc1=nn.Linear(channels, hidden), act=nn.GELU(), fc2=nn.Linear(hidden, channels))
        )
        self.masks: dict[tuple[int, int], Tensor] = {}

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        y = self.norm1(x).view(x.shape[0], height, width, -1)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = _join(self.attn(_cut(y, self.window), self.mask(height, width)), self.window, height, width)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + y.view(x.shape)
        return x + self.mlp(self.norm2(x))

    def mask(self, height: int, width: int) -> Tensor | None:
        if not self.shift:
            return None
        if (height, width) not in self.masks:
            regions = torch.zeros(1, height, width, 1)
            parts = (slice(0, -self.window), slice(-self.window, -self.shift), slice(-self.shift, None))
            for number, (rows, columns) in enumerate((rows, columns) for rows in parts for columns in parts):
                regions[:, rows, columns] = number
            cut = _cut(regions, self.window).squeeze(-1)
            difference = cut.unsqueeze(1) - cut.unsqueeze(2)
            self.masks[height, width] = difference.masked_fill(difference != 0, -100.0)
        return self.masks[height, width]


class _PlainGroup(nn.Module):
    def __init__(self, depth: int, channels: int, heads: int, window: int, mlp_ratio: float) -> None:
        super().__init__()
        shifts = [window // 2 * (index % 2) for index in range(depth)]
        blocks = [_PlainBlock(channels, heads, window, shift, mlp_ratio) for shift in shifts]
        self.residual_group = nn.ModuleDict({"blocks": nn.ModuleList(blocks)})
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        y = x
        for block in self.residual_group["blocks"]:
            y = block(y, height, width)
        y = y.transpose(1, 2).view(x.shape[0], -1, height, width)
        return x + self.conv(y).flatten(2).transpose(1, 2)


class PlainSwinIR(nn.Module):
    """SwinIR (pixelshuffledirect) as in the paper, one operation after another; keys as in `SwinIR`."""

    def __init__(
        self,
        embed_dim: int = 60,
        depths: Sequence[int] = (6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6),
        window_size: int = 8,
        mlp_ratio: float = 2,
        upscale: int = 2,
    ) -> None:
        super().__init__()
        self.window, self.upscale = window_size, upscale
        self.conv_first = nn.Conv2d(3, embed_dim, 3, padding=1)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(embed_dim)})
        self.layers = nn.ModuleList(
            _PlainGroup(depth, embed_dim, heads, window_size, mlp_ratio)
            for depth, heads in zip(depths, num_heads, strict=True)
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = nn.Conv2d(embed_dim, embed_dim, 3, padding=1)
        self.upsample = nn.Sequential(nn.Conv2d(embed_dim, 3 * upscale**2, 3, padding=1), nn.PixelShuffle(upscale))

    def forward(self, lq: Tensor) -> Tensor:
        height, width = lq.shape[-2:]
        x = F.pad(lq, (0, -width % self.window, 0, -height % self.window), "reflect")
        mean = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1).type_as(x)
        shallow = self.conv_first(x - mean)
        rows, columns = shallow.shape[-2:]
        tokens = self.patch_embed["norm"](shallow.flatten(2).transpose(1, 2))
        for layer in self.layers:
            tokens = layer(tokens, rows, columns)
        deep = self.norm(tokens).transpose(1, 2).view(shallow.shape)
        restored = self.upsample(self.conv_after_body(deep) + shallow) + mean
        return restored[..., : height * self.upscale, : width * self.upscale]


def make_pair(**arguments: Any) -> tuple[nn.Module, nn.Module]:
    """The plain network and uir's, with the same weights; without stochastic depth."""
    torch.manual_seed(0)
    plain = PlainSwinIR(**arguments)
    ours = SwinIR(**{"window_size": 8, "mlp_ratio": 2, **arguments}, upsampler="pixelshuffledirect", drop_path_rate=0.0)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if name.endswith("table"):
                parameter.normal_()
    ours.load_state_dict(plain.state_dict(), strict=True)
    return plain, ours


@torch.no_grad()
def infer(network: nn.Module, lq: Tensor) -> None:
    """One forward pass."""
    network(lq)


def train_step(network: nn.Module, lq: Tensor) -> None:
    """One forward and backward pass of an L1 loss."""
    network.zero_grad()
    restored = network(lq)
    F.l1_loss(restored, torch.zeros_like(restored)).backward()


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
    parser.add_argument("--deep", action="store_true", help="all 36 blocks of the medium network too")
    options = parser.parse_args()
    table = Table(title="SwinIR ×2: plain rendering of the published forward pass, and uir's (median ms)")
    for column in ("configuration", "step", "batch", "threads", "load", "plain", "uir", "ratio", "max difference"):
        table.add_column(column, justify="left" if column in ("configuration", "step") else "right")
    cases = [("light, 24 blocks of 60", LIGHT), ("medium, 4 blocks of 180", SHALLOW)]
    cases += [("medium, 36 blocks of 180", MEDIUM)] * options.deep
    for threads in options.threads:
        torch.set_num_threads(threads)
        for label, arguments in cases:
            plain, ours = make_pair(**arguments)
            for step, run, batch, size in [
                ("inference", infer, 1, 128), ("inference", infer, 1, 256), ("training", train_step, 2, 64),
            ]:  # fmt: skip
                lq = torch.rand(batch, 3, size, size)
                with torch.no_grad():
                    difference = (plain(lq) - ours(lq)).abs().max().item()
                before, after = alternate([plain, ours], run, lq, options.rounds)
                table.add_row(
                    label, step, f"{batch}×{size}²", str(threads), f"{os.getloadavg()[0]:.1f}",
                    f"{before:.0f}", f"{after:.0f}", f"{before / after:.2f}×", f"{difference:.0e}",
                )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
