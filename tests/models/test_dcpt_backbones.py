"""DCPT's pre-training of backbones with tokens and with prompts: two processes, and compiled."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from dcpt_options import batch, changes, gradients, model_of, step

from uir.config.options import load_options
from uir.core.checkpoint import read_file
from uir.engine.train_loop import train

pytestmark = pytest.mark.thorough

Write = Callable[..., Path]
BACKBONES: dict[str, dict[str, Any]] = {
    "SwinIR": {
        "type": "SwinIR", "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "mlp_ratio": 2,
        "upscale": 1, "upsampler": "", "drop_path_rate": 0,  # each process draws its own drops
    },
    "PromptIR": {"type": "PromptIR", **ARCH_CONFIGS["PromptIR"]},
}  # fmt: skip


@pytest.mark.parametrize("backbone", [pytest.param("SwinIR", marks=pytest.mark.slow), "PromptIR"])
def test_two_processes_do_what_one_does(write_options: Write, pair_folders: Path, backbone: str) -> None:
    more: dict[str, Any] = {
        "network_g": BACKBONES[backbone], "train.total_iter": 2, "train.pixel_opt": {"type": "MSELoss"},
        "val": None, "datasets.val": None,
        # SGD: Adam makes a whole step of a rounded gradient
        **{f"train.{optim}": {"type": "SGD", "lr": 1e-2} for optim in ("optim_g", "optim_dc")},
    }  # fmt: skip
    file = write_options(changes(pair_folders, "DCPTModel", **more))
    one = train(load_options(file, force=["name=one"]))
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m", "uir", "train",
            "--launcher", "pytorch", "-opt", str(file),
            "--force_yml", "name=two", "datasets:train:batch_size_per_gpu=2",
        ],
        capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for role in ("g", "dc"):
        mine, theirs = (
            read_file(run / "models" / f"net_{role}_latest.pth")["params"] for run in (one, one.with_name("two"))
        )
        torch.testing.assert_close(theirs, mine, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_a_compiled_step_is_the_same(write_options: Write, pair_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Trace as torch.compile does, but generate no code: that takes minutes.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    more = {"network_g": BACKBONES["SwinIR"]}
    plain, compiled = (
        model_of(write_options(changes(pair_folders, "DCPTModel", **more, compile=compile)))
        for compile in (False, True)
    )
    for _ in range(2):  # the second step takes the cached graph
        for model in (plain, compiled):
            step(model, batch())
        assert compiled.log_dict == pytest.approx(plain.log_dict, rel=1e-5)
        torch.testing.assert_close(gradients(compiled), gradients(plain), atol=1e-6, rtol=1e-4)
