"""The time of the training loop: uir's and basicsr's own, on the same YAML, in alternating processes.

It is the time per iteration *outside* the network's forward and backward pass: loading, feeding, optimizer, averages
and logging.

    python benchmarks/loop.py [--rounds 5] [--iterations 200]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 20


def options(folder: Path, workers: int, iterations: int) -> dict[str, Any]:
    """MSRResNet, small, on crops of the demo's photographs."""
    return {
        "name": "loop", "model_type": "SRModel", "scale": 4, "num_gpu": 0, "manual_seed": 0,
        "datasets": {
            "train": {
                "name": "T", "type": "PairedImageDataset", "io_backend": {"type": "disk"},
                "dataroot_gt": str(folder / "gt"), "dataroot_lq": str(folder / "lq"),
                "gt_size": 96, "use_hflip": True, "use_rot": True, "num_worker_per_gpu": workers,
                "batch_size_per_gpu": 4, "dataset_enlarge_ratio": 1000, "prefetch_mode": None,
            }
        },
        "network_g": {
            "type": "MSRResNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_block": 4, "upscale": 4,
        },
        "path": {},
        "train": {
            "ema_decay": 0.999, "optim_g": {"type": "Adam", "lr": 2.0e-4, "weight_decay": 0, "betas": [0.9, 0.99]},
            "scheduler": {"type": "MultiStepLR", "milestones": [100000], "gamma": 0.5},
            "total_iter": iterations + WARM_UP, "warmup_iter": -1,
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
        },
        "logger": {"print_freq": 100, "save_checkpoint_freq": 10**9, "use_tb_logger": False},
    }  # fmt: skip


def make_pairs(folder: Path) -> None:
    """Pairs of 192×192 and 48×48 from the demo's photographs."""
    import cv2

    for index, path in enumerate(sorted((ROOT / "datasets" / "demo" / "train").iterdir())):
        image = cv2.imread(str(path))
        for turn in range(4):
            crop = image[20 * turn : 20 * turn + 192, 30 * turn : 30 * turn + 192]
            for name, picture in (("gt", crop), ("lq", cv2.resize(crop, (48, 48), interpolation=cv2.INTER_AREA))):
                (folder / name).mkdir(exist_ok=True)
                cv2.imwrite(str(folder / name / f"{index}_{turn}.png"), picture)


class Stopwatch:
    """Measures the time in the network's forward and backward pass, and the total time."""

    def __init__(self) -> None:
        self.inside, self.began, self.steps, self.start = 0.0, 0.0, 0, 0.0

    def install(self, network: Any, step_owner: Any, step_name: str) -> None:
        """Measure this network, and every call of `step_owner.step_name` as an iteration."""
        import torch

        network.register_forward_pre_hook(lambda *_: self._begin())
        network.register_forward_hook(lambda *_: self._end())
        backward, step = torch.Tensor.backward, getattr(step_owner, step_name)

        def timed_backward(*arguments: Any, **keywords: Any) -> None:
            self._begin()
            backward(*arguments, **keywords)
            self._end()

        def counted_step(*arguments: Any, **keywords: Any) -> None:
            step(*arguments, **keywords)
            self.steps += 1
            if self.steps == WARM_UP:
                self.inside, self.start = 0.0, time.perf_counter()

        torch.Tensor.backward = timed_backward  # type: ignore[method-assign]
        setattr(step_owner, step_name, counted_step)

    def _begin(self) -> None:
        self.began = time.perf_counter()

    def _end(self) -> None:
        self.inside += time.perf_counter() - self.began

    def result(self) -> dict[str, float]:
        """Milliseconds per iteration."""
        count = self.steps - WARM_UP
        whole = (time.perf_counter() - self.start) / count * 1e3
        inside = self.inside / count * 1e3
        return {"iteration": whole, "outside": whole - inside}


def child(side: str, folder: Path, file: Path) -> None:
    """Run one side in this process and print its times."""
    import torch

    torch.set_num_threads(1)
    watch = Stopwatch()
    if side == "uir":
        import uir.models.building
        from uir.config.options import load_options
        from uir.engine import train_loop

        build = uir.models.building.build_model

        def built(*arguments: Any, **keywords: Any) -> Any:
            model = build(*arguments, **keywords)
            watch.install(model.net_g, model, "optimize_parameters")
            return model

        train_loop.build_model = built  # type: ignore[assignment]
        train_loop.Training.finish = lambda self: print(json.dumps(watch.result()))  # type: ignore[assignment, method-assign]
        train_loop.train(load_options(file, force=["name=loop_uir"], root=folder))  # the folder of basicsr is its own
    else:
        from uir.compat import load_basicsr

        load_basicsr()
        from basicsr import train as their_train

        build_theirs = their_train.build_model

        def their_model(opt: Any) -> Any:
            model = build_theirs(opt)
            watch.install(model.net_g, model, "optimize_parameters")
            model.save = lambda **_: print(json.dumps(watch.result()))
            return model

        their_train.build_model = their_model
        sys.argv = ["train.py", "-opt", str(file)]
        their_train.train_pipeline(str(folder))


def measure(side: str, folder: Path, file: Path) -> dict[str, float]:
    """One process of one side."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"iteration"')]
    if done.returncode or not lines:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return dict(json.loads(lines[0]))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--side", choices=["uir", "basicsr"])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--file", type=Path)
    arguments = parser.parse_args()
    if arguments.side:
        child(arguments.side, arguments.folder, arguments.file)
        return
    table = Table("workers", "basicsr ms/it outside", "uir ms/it outside", "ratio", "basicsr ms/it", "uir ms/it")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pairs(folder)
        for workers in (0, 1):
            file = folder / f"loop{workers}.yml"
            file.write_text(yaml.safe_dump(options(folder, workers, arguments.iterations), sort_keys=False))
            times: dict[str, list[dict[str, float]]] = {"basicsr": [], "uir": []}
            for _ in range(arguments.rounds):
                for side in times:
                    times[side].append(measure(side, folder, file))
            middle = {
                side: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
                for side, rows in times.items()
            }
            theirs, ours = middle["basicsr"], middle["uir"]
            table.add_row(
                str(workers), f"{theirs['outside']:.2f}", f"{ours['outside']:.2f}",
                f"{theirs['outside'] / ours['outside']:.2f}", f"{theirs['iteration']:.2f}", f"{ours['iteration']:.2f}",
            )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(f"medians of {arguments.rounds} alternating processes, one thread, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
