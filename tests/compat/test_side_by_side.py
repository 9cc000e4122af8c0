"""The same YAML under basicsr's own pipeline and under uir: the same losses, the same metrics."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from uir.compat import basicsr_names
from uir.config.options import load_options
from uir.core.checkpoint import read_weights
from uir.data.stream import BatchStream
from uir.engine.train_loop import train

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed"),
]

# basicsr's own training, with its batches, losses and metrics written down.
THEIRS = """
import json, sys
import torch
from uir.compat import load_basicsr
load_basicsr()
from basicsr.models.sr_model import SRModel
from basicsr.train import train_pipeline

batches, losses, metrics = [], [], []
feed, step = SRModel.feed_data, SRModel.optimize_parameters
validate = SRModel._log_validation_metric_values

def feed_data(self, data):
    if torch.is_grad_enabled() and "recording" in self.__dict__:
        batches.append({k: v.clone() if hasattr(v, "clone") else list(v) for k, v in data.items()})
    feed(self, data)

def optimize_parameters(self, iteration):
    step(self, iteration)
    losses.append(dict(self.log_dict))

def log_values(self, *arguments):
    metrics.append(dict(self.metric_results))
    self.__dict__.pop("recording", None)
    validate(self, *arguments)

update = SRModel.update_learning_rate
def update_learning_rate(self, *arguments, **keywords):
    self.recording = True
    update(self, *arguments, **keywords)

SRModel.feed_data, SRModel.optimize_parameters = feed_data, optimize_parameters
SRModel._log_validation_metric_values, SRModel.update_learning_rate = log_values, update_learning_rate
folder = sys.argv.pop(1)
train_pipeline(folder)
torch.save(batches, folder + "/batches.pth")
json.dump({"losses": losses, "metrics": metrics}, open(folder + "/theirs.json", "w"))
"""

NETWORKS = {
    "MSRResNet": {"type": "MSRResNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 2, "upscale": 2},
    "EDSR": {
        "type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 2, "upscale": 2,
        "res_scale": 1, "img_range": 255.0, "rgb_mean": [0.4488, 0.4371, 0.4040],
    },
}  # fmt: skip


def options(pairs: Path, network: Mapping[str, Any]) -> dict[str, Any]:
    data = {
        "type": "PairedImageDataset", "dataroot_gt": str(pairs / "gt"), "dataroot_lq": str(pairs / "lq"),
        "io_backend": {"type": "disk"},
    }  # fmt: skip
    return {
        "name": "same", "model_type": "SRModel", "scale": 2, "num_gpu": 0, "manual_seed": 10,
        "datasets": {
            "train": {
                **data, "name": "T", "gt_size": 32, "use_hflip": True, "use_rot": True, "use_shuffle": True,
                "num_worker_per_gpu": 0, "batch_size_per_gpu": 2, "dataset_enlarge_ratio": 10, "prefetch_mode": None,
            },
            "val": {**data, "name": "V"},
        },
        "network_g": dict(network),
        "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
        "train": {
            "ema_decay": 0.999,
            "optim_g": {"type": "Adam", "lr": 2.0e-3, "weight_decay": 0, "betas": [0.9, 0.99]},
            "scheduler": {"type": "MultiStepLR", "milestones": [8, 15], "gamma": 0.5},
            "total_iter": 20, "warmup_iter": -1,
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
        },
        "val": {
            "val_freq": 20, "save_img": True, "suffix": None,
            "metrics": {
                "psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": False, "better": "higher"},
                "ssim": {"type": "calculate_ssim", "crop_border": 2, "test_y_channel": True},
            },
        },
        "logger": {"print_freq": 1, "save_checkpoint_freq": 20, "use_tb_logger": True},
    }  # fmt: skip


def run_theirs(folder: Path, file: Path) -> dict[str, Any]:
    script = folder / "theirs.py"
    script.write_text(THEIRS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(folder), "-opt", str(file)],
        capture_output=True, text=True, cwd=folder, env=environment, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "theirs.json").read_text())
    return found


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_twenty_iterations_give_the_same_losses_metrics_files_and_tags(
    pair_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    text = yaml.safe_dump(options(pair_folders, NETWORKS[network]), sort_keys=False)
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for folder in (theirs, ours):
        (folder / "options").mkdir(parents=True)
        (folder / "options" / "same.yml").write_text(text)
    found = run_theirs(theirs, theirs / "options" / "same.yml")
    their_run = theirs / "experiments" / "same"
    batches = iter(torch.load(theirs / "batches.pth", weights_only=True))
    monkeypatch.setattr(BatchStream, "next", lambda self: next(batches))

    our_run = train(load_options(ours / "options" / "same.yml"))

    rows = [json.loads(line) for line in (our_run / "metrics.jsonl").read_text().splitlines()]
    losses = [row["l_pix"] for row in rows if "l_pix" in row]
    assert len(found["losses"]) == 20
    assert losses == pytest.approx([row["l_pix"] for row in found["losses"]], abs=1e-6)
    metrics = next(row["metrics"] for row in rows if "metrics" in row)
    assert metrics == pytest.approx(found["metrics"][0], abs=1e-4)
    their_weights, our_weights = (
        read_weights(r / "models" / "net_g_20.pth", "params_ema")[0] for r in (their_run, our_run)
    )
    for key, value in their_weights.items():
        torch.testing.assert_close(our_weights[key], value, atol=1e-6, rtol=1e-5)
    assert files_of(our_run) - files_of(their_run) == {"metrics.jsonl", "run.json", "options.yml"}
    # basicsr goes on counting when training is over, and validates again under that number
    assert {n for n in files_of(their_run) - files_of(our_run) if not re.search(r"_2[1-9]\.png$", n)} == set()
    assert tags_of(theirs / "tb_logger" / "same") == tags_of(ours / "tb_logger" / "same")


def files_of(run: Path) -> set[str]:
    """The files of a run, without the time in the log's name."""
    names = (str(p.relative_to(run)) for p in run.rglob("*") if p.is_file())
    return {name for name in names if not name.endswith(".log")}


def tags_of(folder: Path) -> set[str]:
    """TensorBoard tags."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return set(events.Tags()["scalars"])
