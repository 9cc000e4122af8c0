"""How fast does uir restore on a CPU compared with onnxruntime and OpenVINO, with the same weights? All in turn.

    python benchmarks/runtimes.py [--networks NAFNet Restormer SwinIR] [--rounds 3] [--threads 1] [--compiled]

Every network is exported to ONNX once, and each runtime restores the same image in a process of its own, as it does
for its users: threads of one that wait do not hinder another. The outputs are compared before the timing. The numbers
are the least milliseconds of the rounds, on the clock and of computing (of all cores); the second changes less on a
busy machine. OpenVINO is left out where it is not installed (`pip install openvino`). `--compiled` adds torch.compile,
which takes minutes. `--folder` keeps the exported networks, and the next call uses them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from multiprocessing.connection import Connection
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
HALF = ", bf16"


def network_and_image(name: str) -> tuple[nn.Module, Tensor]:
    """The network with random weights, the same in every process, and what it restores."""
    arguments, side = NETWORKS[name]
    torch.manual_seed(0)
    return build("archs", arguments).eval(), torch.rand(1, 3, side, side)


def of_uir(name: str, runtime: str) -> Run:
    """uir as it restores."""
    network, lq = network_and_image(name)
    restore = torch.compile(network) if "compiled" in runtime else network

    def run() -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=runtime.endswith(HALF)):
            return np.asarray(restore(lq).float())

    return run


def of_onnxruntime(lq: np.ndarray, file: Path, threads: int) -> Run:
    """onnxruntime with its own settings but for the threads."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session: Any = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: lq})[0]


def of_openvino(lq: np.ndarray, file: Path, threads: int, precision: str) -> Run:
    """OpenVINO with one stream; other work may have the cores, so its threads are not pinned to them."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1}
    compiled = openvino.Core().compile_model(str(file), "CPU", {**settings, "ENABLE_CPU_PINNING": False})
    request = compiled.create_infer_request()
    return lambda: next(iter(request.infer([lq]).values()))


def serve(connection: Connection, name: str, runtime: str, file: Path, threads: int) -> None:
    """In a process of its own: send the output once, then the seconds of a run for each thing that comes."""
    keep_freed_memory()  # as uir's command does; here it holds for all of them
    if runtime.startswith("uir"):
        run = of_uir(name, runtime)
    else:
        lq = network_and_image(name)[1].numpy()
        half = "bf16" if runtime.endswith(HALF) else "f32"
        run = of_onnxruntime(lq, file, threads) if runtime == "onnxruntime" else of_openvino(lq, file, threads, half)
    connection.send(run())
    while connection.recv():
        on_the_clock, computing = time.perf_counter(), time.process_time()
        run()
        connection.send((time.perf_counter() - on_the_clock, time.process_time() - computing))


def compare(name: str, runtimes: list[str], file: Path, threads: int, rounds: int) -> dict[str, tuple[float, ...]]:
    """By runtime: least milliseconds on the clock and of computing, and the largest difference from uir's output."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of torch in the new processes
    context = multiprocessing.get_context("spawn")
    connections, processes, outputs = {}, [], {}
    for runtime in runtimes:  # one after the other, so that no two of them compute at the same time
        connections[runtime], theirs = context.Pipe()
        processes.append(context.Process(target=serve, args=(theirs, name, runtime, file, threads), daemon=True))
        processes[-1].start()
        theirs.close()
        outputs[runtime] = connections[runtime].recv()
    taken: dict[str, list[tuple[float, float]]] = {runtime: [] for runtime in runtimes}
    for _ in range(rounds):
        for runtime, connection in connections.items():
            connection.send(True)
            taken[runtime].append(connection.recv())
    for connection, process in zip(connections.values(), processes, strict=True):
        connection.send(False)
        process.join()
    return {
        runtime: (
            *(1e3 * min(times) for times in zip(*taken[runtime], strict=True)),
            float(np.abs(outputs[runtime] - outputs["uir"]).max()),
        )
        for runtime in runtimes
    }


def main() -> None:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compiled", action="store_true", help="torch.compile too")
    parser.add_argument("--folder", type=Path, help="keep the exported networks here")
    options = parser.parse_args()
    runtimes = ["uir", f"uir{HALF}", "onnxruntime"]
    runtimes += ["uir, compiled"] if options.compiled else []
    runtimes += ["OpenVINO", f"OpenVINO{HALF}"] if find_spec("openvino") else []
    columns = ("network", "image", "runtime", "ms", "of uir's", "ms of computing", "of uir's", "difference")
    table = Table(*columns, title=f"the least of {options.rounds} rounds, {options.threads} threads")
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.networks:
            network, lq = network_and_image(name)
            file = (options.folder or Path(temporary)) / f"{name}.onnx"
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                torch.onnx.export(network, (lq,), str(file), dynamo=True, external_data=False, verbose=False)
            measured = compare(name, runtimes, file, options.threads, options.rounds)
            for runtime, (*times, difference) in measured.items():
                ours = measured[f"uir{HALF}" if runtime.endswith(HALF) else "uir"]
                cells = [cell for mine, base in zip(times, ours, strict=False)
                         for cell in (f"{mine:.0f}", f"{mine / base:.2f}")]  # fmt: skip
                table.add_row(name, f"{lq.shape[-1]}²", runtime, *cells, f"{difference:.0e}")
    Console(width=120).print(table)
    print(f"load of the machine {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
