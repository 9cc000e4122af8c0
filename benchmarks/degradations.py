"""How fast does uir degrade? The Real-ESRGAN recipe alternately with basicsr's own ops, then each op.

    python benchmarks/degradations.py [--rounds 5] [--batch 6] [--threads 2] [--device cpu] [--ops]

basicsr's side uses its own functions in the order of its RealESRGANModel (the kernels exist before, and are not
counted); its `filter2D` gets contiguous images, which it needs with a current torch. uir's side counts everything:
random values, kernels, records. *Workers* degrade image by image, one thread each, as in a DataLoader; *batch* is one
process with all threads (with a device: whole batches on it).
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from uir import compat
from uir.analysis.degradation_sheets import pictured_ops
from uir.core.images import read_rgb, to_tensor
from uir.core.seeds import derive_seed
from uir.degradations.degrader import Degrader
from uir.registry import DEGRADATION_REGISTRY
from uir.registry.components import build

DEMO = Path(__file__).resolve().parents[1] / "datasets" / "demo"
PATCH, SCALE = 400, 4
KERNELS = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
PROBABILITIES = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]


def patches(count: int) -> Tensor:
    """Patches [count, 3, 400, 400] from the demo photographs."""
    files = sorted(path for path in DEMO.rglob("*") if path.suffix in (".jpg", ".png"))
    cut = []
    for index in range(count):
        image = to_tensor(read_rgb(files[index % len(files)]))
        while min(image.shape[-2:]) < PATCH:
            image = (
                torch.cat([image, image.flip(-1)], -1)
                if image.shape[-1] < PATCH
                else torch.cat([image, image.flip(-2)], -2)
            )
        cut.append(image[:, :PATCH, :PATCH])
    return torch.stack(cut)


class Published:
    """The degradation of basicsr's RealESRGANModel with the values of Real-ESRGAN's x4 file."""

    def __init__(self, batch: int, device: torch.device) -> None:
        compat.prepare()
        from basicsr.data import degradations
        from basicsr.utils.diffjpeg import DiffJPEG
        from basicsr.utils.img_process_util import filter2D

        self.ops, self.filter2d, self.device = degradations, filter2D, device
        self.jpeg = DiffJPEG(differentiable=False).to(device)
        self.kernels = [[self._kernel(3.0), self._kernel(1.5), self._sinc()] for _ in range(64)]
        self.batch = batch

    def _kernel(self, sigma: float) -> np.ndarray:
        side = random.choice(range(7, 22, 2))
        if random.random() < 0.1:
            omega = random.uniform(math.pi / 3 if side < 13 else math.pi / 5, math.pi)
            kernel = self.ops.circular_lowpass_kernel(omega, side, pad_to=False)
        else:
            kernel = self.ops.random_mixed_kernels(
                KERNELS,
                PROBABILITIES,
                side,
                [0.2, sigma],
                [0.2, sigma],
                [-math.pi, math.pi],
                [0.5, 4],
                [1, 2],
                noise_range=None,
            )
        return np.pad(kernel, (21 - side) // 2)

    def _sinc(self) -> np.ndarray:
        if random.random() < 0.8:
            return self.ops.circular_lowpass_kernel(
                random.uniform(math.pi / 3, math.pi), random.choice(range(7, 22, 2)), pad_to=21
            )
        pulse = np.zeros((21, 21))
        pulse[10, 10] = 1
        return pulse

    def _draw(self, turn: int) -> Tensor:
        picked = [random.choice(self.kernels)[turn] for _ in range(self.batch)]
        return torch.from_numpy(np.stack(picked)).float().to(self.device)

    def _noise(self, image: Tensor, gaussian: list[float], poisson: list[float]) -> Tensor:
        options = {"gray_prob": 0.4, "clip": True, "rounds": False}
        if random.random() < 0.5:
            return self.ops.random_add_gaussian_noise_pt(image, sigma_range=gaussian, **options)
        return self.ops.random_add_poisson_noise_pt(image, scale_range=poisson, **options)

    def _compress(self, image: Tensor) -> Tensor:
        return self.jpeg(image.clamp(0, 1), quality=image.new_zeros(len(image)).uniform_(30, 95))

    @torch.no_grad()
    def __call__(self, gt: Tensor) -> Tensor:
        height, width = gt.shape[-2:]
        out = self.filter2d(gt, self._draw(0))
        out = F.interpolate(out, scale_factor=_factor([0.2, 0.7, 0.1], 0.15, 1.5), mode=_mode())
        out = self._compress(self._noise(out, [1, 30], [0.05, 3]))
        if random.random() < 0.8:
            out = self.filter2d(out.contiguous(), self._draw(1))
        factor = _factor([0.3, 0.4, 0.3], 0.3, 1.2)
        out = F.interpolate(out, size=(int(height / SCALE * factor), int(width / SCALE * factor)), mode=_mode())
        out = self._noise(out, [1, 25], [0.05, 2.5])
        back = (height // SCALE, width // SCALE)
        if random.random() < 0.5:
            out = self.filter2d(F.interpolate(out, size=back, mode=_mode()).contiguous(), self._draw(2))
            out = self._compress(out)
        else:
            out = self._compress(out)
            out = self.filter2d(F.interpolate(out, size=back, mode=_mode()).contiguous(), self._draw(2))
        return (out.clamp(0, 1) * 255).round() / 255


def _factor(probabilities: list[float], low: float, high: float) -> float:
    direction = random.choices(["up", "down", "keep"], probabilities)[0]
    return {"up": random.uniform(1, high), "down": random.uniform(low, 1), "keep": 1}[direction]


def _mode() -> str:
    return random.choice(["area", "bilinear", "bicubic"])


_WORKER: dict[str, object] = {}


def _start_worker(images: Tensor) -> None:
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    _WORKER["images"], _WORKER["degrader"] = images, Degrader({"type": "realesrgan", "scale": SCALE}, SCALE)


def _degrade_in_worker(seed: int) -> int:
    images, degrader = _WORKER["images"], _WORKER["degrader"]
    degraded, _ = degrader.image(images[seed % len(images)], seed)  # type: ignore[index,attr-defined]
    return int(degraded.shape[-1])


def compare(args: argparse.Namespace, console: Console) -> None:
    """Patches per second; the sides alternate."""
    device = torch.device(args.device)
    gt = patches(args.batch).to(device)
    published = Published(args.batch, device)
    degrader = Degrader({"type": "realesrgan", "scale": SCALE}, SCALE)
    turn = iter(range(10**9))

    def batched() -> None:
        start = next(turn) * args.batch
        degrader.batch(gt, [derive_seed("batch", start + i) for i in range(args.batch)])

    def synchronised(work: Callable[[], object]) -> Callable[[], float]:
        def timed() -> float:
            began = time.perf_counter()
            for _ in range(args.batches):
                work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            return args.batches * args.batch / (time.perf_counter() - began)

        return timed

    sides = {"basicsr": synchronised(lambda: published(gt)), "uir, batch": synchronised(batched)}
    pool = None
    if device.type == "cpu":
        pool = get_context("fork").Pool(args.threads, _start_worker, (gt,))

        def workers() -> float:
            seeds = [next(turn) for _ in range(args.batches * args.batch)]
            began = time.perf_counter()
            list(pool.imap_unordered(_degrade_in_worker, seeds))
            return len(seeds) / (time.perf_counter() - began)

        sides["uir, workers"] = workers
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side()
    for _ in range(args.rounds):
        for name, side in sides.items():
            rates[name].append(side())
    if pool is not None:
        pool.terminate()
    table = Table(title=f"second-order Real-ESRGAN, {PATCH} px to {PATCH // SCALE} px, batch {args.batch}, "
                        f"{args.threads} threads, {device}, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    for column in ("side", "patches/s", "x basicsr"):
        table.add_column(column)
    base = statistics.median(rates["basicsr"])
    for name, values in rates.items():
        rate = statistics.median(values)
        table.add_row(name, f"{rate:.1f}", f"{rate / base:.1f}")
    console.print(table)


def each_op(args: argparse.Namespace, console: Console) -> None:
    """Milliseconds and peak memory of each op on one patch, at its medium severity, one thread."""
    torch.set_num_threads(1)
    image = patches(1)[0]
    table = Table(title=f"one {PATCH}x{PATCH} patch, medium severity, one thread, load {os.getloadavg()[0]:.1f}")
    for column in ("family", "op", "ms", "MB at peak"):
        table.add_column(column)
    for family, names in pictured_ops().items():
        for name in names:
            op = build(DEGRADATION_REGISTRY, {"type": name, **DEGRADATION_REGISTRY.get(name).severities[1]})
            times = []
            for seed in range(args.rounds + 1):
                began = time.perf_counter()
                op(image, seed)
                times.append((time.perf_counter() - began) * 1e3)
            table.add_row(family, name, f"{statistics.median(times[1:]):.1f}", f"{_peak(op, image):.1f}")
    console.print(table)


def _peak(op: Callable[[Tensor, int], object], image: Tensor) -> float:
    """MB by which a separate process grows while it degrades (Linux: the largest value of its resident memory)."""
    receiver, sender = get_context("fork").Pipe(duplex=False)

    def measure() -> None:
        Path("/proc/self/clear_refs").write_text("5")  # resets the mark
        before = _resident("VmHWM")
        op(image, 0)
        sender.send(_resident("VmHWM") - before)

    process = get_context("fork").Process(target=measure)
    process.start()
    grown = receiver.recv()
    process.join()
    return float(grown)


def _resident(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--batches", type=int, default=8, help="batches in a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ops", action="store_true", help="the table of ops only")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    console = Console(width=110)
    if not args.ops:
        compare(args, console)
    each_op(args, console)


if __name__ == "__main__":
    main()
