"""How fast does uir restore on a CPU compared with onnxruntime and OpenVINO, with the same weights? All in turn.

    python benchmarks/runtimes.py [--networks NAFNet Restormer SwinIR] [--rounds 3] [--threads 1] [--compiled]

Every network is exported to ONNX once, and each runtime restores the same image. The outputs are compared before the
timing. The numbers are the least milliseconds of computing (of all cores) of the rounds, which a busy machine changes
less than the time. OpenVINO is left out where it is not installed (`pip install openvino`). `--compiled` adds
torch.compile, which takes minutes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from uir.core.allocator import keep_freed_memory
from uir.registry.components import build

NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "NAFNet": (
        {"type": "NAFNet", "width": 32, "enc_blk_nums": [1, 1, 1, 28], "middle_blk_num": 1, "dec_blk_nums": [1] * 4},
        256,
    ),
    "Restormer": ({"type": "Restormer"}, 128),
    "SwinIR": (
        {
            "type": "SwinIR", "embed_dim": 180, "depths": [6] * 6, "num_heads": [6] * 6, "window_size": 8,
            "mlp_ratio": 2, "upscale": 2, "upsampler": "pixelshuffle",
        },
        128,
    ),
}  # fmt: skip
Run = Callable[[], np.ndarray]


def ours(network: nn.Module, lq: Tensor, bf16: bool) -> Run:
    """uir as it restores."""

    def run() -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return np.asarray(network(lq).float())

    return run


def runs_of(network: nn.Module, lq: Tensor, file: Path, threads: int, compiled: bool) -> dict[str, Run]:
    """What is timed, by name."""
    runs = {"uir": ours(network, lq, False), "uir, bf16": ours(network, lq, True)}
    if compiled:
        runs["uir, compiled"] = ours(torch.compile(network), lq, False)
    torch.onnx.export(network, (lq,), str(file), dynamo=True, external_data=False, verbose=False)
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session: Any = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    runs["onnxruntime"] = lambda: session.run(None, {name: lq.numpy()})[0]
    if find_spec("openvino") is not None:
        import openvino

        core = openvino.Core()
        for label, precision in (("OpenVINO", "f32"), ("OpenVINO, bf16", "bf16")):
            hints = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1}
            request = core.compile_model(
                str(file), "CPU", {**hints, "ENABLE_CPU_PINNING": False}
            ).create_infer_request()
            runs[label] = lambda request=request: next(iter(request.infer([lq.numpy()]).values()))
    return runs


def alternate(runs: Mapping[str, Run], rounds: int) -> dict[str, float]:
    """The least milliseconds of computing of each, in turn."""
    least = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            run()
            least[name] = min(least[name], 1e3 * (time.process_time() - start))
    return least


def main() -> None:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compiled", action="store_true", help="torch.compile too")
    options = parser.parse_args()
    keep_freed_memory()  # as the command does; it holds for all of them
    torch.set_num_threads(options.threads)
    table = Table("network", "image", "runtime", "ms", "of uir's", "difference", title="least ms of computing")
    for name in options.networks:
        arguments, side = NETWORKS[name]
        torch.manual_seed(0)
        network, lq = build("archs", arguments).eval(), torch.rand(1, 3, side, side)
        with tempfile.TemporaryDirectory() as folder:
            runs = runs_of(network, lq, Path(folder) / "net.onnx", options.threads, options.compiled)
            exact = runs["uir"]()
            differences = {label: float(np.abs(run() - exact).max()) for label, run in runs.items()}
            least = alternate(runs, options.rounds)
        for label, taken in least.items():
            base = least["uir, bf16" if "bf16" in label else "uir"]
            table.add_row(name, f"{side}²", label, f"{taken:.0f}", f"{taken / base:.2f}", f"{differences[label]:.0e}")
    Console(width=120).print(table)
    print(f"load of the machine {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
