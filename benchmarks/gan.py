"""An adversarial step: uir's SRGANModel and ESRGANModel against basicsr's own classes, on the same YAML.

The steps alternate in one process; the peak memory is that of a process of its own. Both sides run on one thread and
start from the same weights.

    python benchmarks/gan.py [--rounds 5] [--size 128] [--batch 4]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.table import Table

from uir.config.options import load_options
from uir.core.progress import console
from uir.models.building import build_model

METHODS = ("SRGANModel", "ESRGANModel")
SIDES = {"uir": "", "basicsr": "basicsr:"}


def options(method: str, size: int) -> dict[str, Any]:
    """MSRResNet, x4, and the discriminator of SRGAN in basicsr."""
    adam = {"type": "Adam", "lr": 1e-4, "weight_decay": 0, "betas": [0.9, 0.99]}
    return {
        "name": "gan", "model_type": method, "scale": 4, "num_gpu": 0, "manual_seed": 0,
        "datasets": {
            "train": {
                "name": "T", "type": "PairedImageDataset", "io_backend": {"type": "disk"}, "dataroot_gt": ".",
                "dataroot_lq": ".", "gt_size": size, "use_hflip": True, "use_rot": True, "num_worker_per_gpu": 0,
                "batch_size_per_gpu": 4, "dataset_enlarge_ratio": 1, "prefetch_mode": None,
            }
        },
        "network_g": {
            "type": "MSRResNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 16, "upscale": 4,
        },
        "network_d": {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 64, "input_size": size},
        "path": {},
        "train": {
            "ema_decay": 0.999, "optim_g": adam, "optim_d": adam, "total_iter": 100, "warmup_iter": -1,
            "scheduler": {"type": "MultiStepLR", "milestones": [50], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1e-2, "reduction": "mean"},
            "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 5e-3},
            "net_d_iters": 1, "net_d_init_iters": 0,
        },
        "logger": {"print_freq": 100, "save_checkpoint_freq": 1000, "use_tb_logger": False},
    }  # fmt: skip


def built(side: str, method: str, size: int) -> Any:
    """The model of one side."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gan.yml"
        file.write_text(yaml.safe_dump(options(SIDES[side] + method, size)), encoding="utf-8")
        torch.manual_seed(0)
        return build_model(load_options(file), torch.device("cpu"))


def step(model: Any, iteration: int, size: int, count: int) -> None:
    """One iteration on random images."""
    gt = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(iteration))
    model.feed_data({"lq": torch.nn.functional.avg_pool2d(gt, 4), "gt": gt})
    model.optimize_parameters(iteration)


def memory(side: str, method: str, size: int, count: int) -> float:
    """Peak resident memory of three steps in a process of their own, in MiB."""
    words = ["--child", side, "--methods", method, "--size", str(size), "--batch", str(count)]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=128, help="side of the clean images")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.child:
        model = built(arguments.child, arguments.methods[0], arguments.size)
        for iteration in range(1, 4):
            step(model, iteration, arguments.size, arguments.batch)
        print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
        return
    table = Table("method", *(f"{side}, s" for side in SIDES), "ratio", *(f"{side}, MiB" for side in SIDES))
    for method in arguments.methods:
        models = {side: built(side, method, arguments.size) for side in SIDES}
        times: dict[str, list[float]] = {side: [] for side in SIDES}
        for iteration in range(1, arguments.rounds + 2):
            for side, model in models.items():
                began = time.process_time()
                step(model, iteration, arguments.size, arguments.batch)
                times[side].append(time.process_time() - began)
        seconds = {side: statistics.median(values[1:]) for side, values in times.items()}
        peaks = [f"{memory(side, method, arguments.size, arguments.batch):.0f}" for side in SIDES]
        ratio = seconds["basicsr"] / seconds["uir"]
        table.add_row(method, *(f"{value:.2f}" for value in seconds.values()), f"{ratio:.2f}", *peaks)
    console.print(table)


if __name__ == "__main__":
    main()
