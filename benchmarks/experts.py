"""Size and speed of DASR's mixed experts, beside RRDB and SwinIR, and of two forms of the dynamic convolution.

    python benchmarks/experts.py [--height 90 --width 160 --repeats 3]

Parameters and multiply-adds are those for an image of 180×320 at scale 4, as papers count them; times are medians on
this computer's CPU with one thread, for the size that is given: all networks in turn, in seconds of
computing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uir.inference.macs import count_macs, run_padded
from uir.layers.experts import DynamicConv2d, mixed
from uir.registry.components import build_network

SWINIR = {
    "upscale": 4, "img_size": 48, "window_size": 8, "depths": [6] * 6, "embed_dim": 180,
    "num_heads": [6] * 6, "mlp_ratio": 2, "upsampler": "pixelshuffle", "resi_connection": "1conv",
}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "RRDB (23 blocks, 64 channels)": {"type": "basicsr:RRDBNet", "num_in_ch": 3, "num_out_ch": 3},
    "SwinIR (classical, x4)": {"type": "SwinIR", **SWINIR},
    "SwinIR of basicsr": {"type": "basicsr:SwinIR", **SWINIR},
}


class Pair(nn.Module):
    """Predictor and restorer, as one image passes through them."""

    def __init__(self) -> None:
        super().__init__()
        self.p = build_network({"type": "DegradationPredictor"})
        self.g = build_network({"type": "MSRResNetDynamic"})

    def forward(self, lq: Tensor) -> Tensor:
        """The restored image."""
        restored: Tensor = self.g(lq, self.p(lq).experts)
        return restored


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
    """The median time of a call, after one to warm up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return statistics.median(times)


def networks(height: int, width: int, repeats: int) -> None:
    """One line for each network."""
    pair = Pair().eval()
    plain = build_network({"type": "MSRResNet"})
    active = sum(parameter.numel() for part in (pair.p, plain) for parameter in part.parameters())
    print(f"{'network':34s} {'M params':>9s} {'active':>7s} {'G MACs':>8s} {'seconds':>8s}")
    rows: dict[str, tuple[nn.Module, int | None]] = {
        "DASR-Liang (predictor + 5 experts)": (pair, active),
        "  collapsed (MSRResNet)": (plain.eval(), None),
        **{name: (build_network(spec).eval(), None) for name, spec in OTHERS.items()},
    }
    rows["SwinIR of basicsr"][0].pad_multiple = SWINIR["window_size"]  # type: ignore[assignment]
    lq = torch.rand(1, 3, height, width)
    times: dict[str, list[float]] = {name: [] for name in rows}
    with torch.inference_mode():
        for name in list(rows) * repeats:
            times[name].append(median_seconds(partial(run_padded, rows[name][0], lq), 1))
    for name, (network, used) in rows.items():
        count = sum(parameter.numel() for parameter in network.parameters())
        seconds = statistics.median(times[name])
        gmacs = count_macs(network.to("meta"), torch.empty(1, 3, 180, 320, device="meta")) / 1e9
        shown = (count / 1e6, (used or count) / 1e6, gmacs, seconds)
        print(f"{name:34s} {shown[0]:9.2f} {shown[1]:7.2f} {shown[2]:8.1f} {shown[3]:8.2f}", flush=True)


def grouped(conv: DynamicConv2d, x: Tensor, shares: Tensor) -> Tensor:
    """The form of the published code: one convolution of B groups."""
    batch, channels, height, width = x.shape
    weight, bias = mixed(conv.weight, shares), mixed(conv.bias, shares)
    one = x.reshape(1, batch * channels, height, width)
    return F.conv2d(one, weight.flatten(0, 1), bias.flatten(), conv.stride, conv.padding, groups=batch).view(
        batch, -1, height, width
    )


def convolutions(repeats: int) -> None:
    """Both forms of the dynamic convolution: image by image, and as one grouped convolution."""
    print("\n64 to 64 channels, 64×64 pixels, forward and backward, in ms")
    print(f"{'':12s} {'image by image':>15s} {'grouped':>9s} {'largest difference':>20s}")
    conv = DynamicConv2d(64, 64, 3)
    for batch in (1, 6, 16):
        x, shares = torch.rand(batch, 64, 64, 64), torch.randn(batch, 5)
        difference = float((conv(x, shares) - grouped(conv, x, shares)).detach().abs().max())
        times: dict[str, list[float]] = {"own": [], "grouped": []}
        forms: list[tuple[str, Callable[..., Tensor]]] = [("own", conv), ("grouped", partial(grouped, conv))]
        for _ in range(repeats):  # in turns, and each first in every second round, so that both see the same load
            for name, form in forms:
                times[name].append(median_seconds(partial(trained, form, x, shares), 1))
            forms.reverse()
        own, published = (statistics.median(times[name]) * 1000 for name in ("own", "grouped"))
        print(f"{f'batch of {batch}':12s} {own:15.1f} {published:9.1f} {difference:20.1e}", flush=True)


def trained(form: Callable[..., Tensor], x: Tensor, shares: Tensor) -> None:
    """One forward and backward pass."""
    form(x, shares).sum().backward()


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=90)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks(arguments.height, arguments.width, arguments.repeats)
    convolutions(max(arguments.repeats, 20))


if __name__ == "__main__":
    main()
