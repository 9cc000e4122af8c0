"""Small option files in the form of DCPT's authors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from dcpt_dialect_options import SMALL, Form, published


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Form], Path]:
    def write(form: Form) -> Path:
        file = tmp_path / "project" / "options" / "run.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(form, sort_keys=False))
        return file

    return write


@pytest.fixture
def small(pair_folders: Path, tmp_path: Path) -> Form:
    """The published form on small photographs, with a small network; CPU, two iterations."""
    gt = pair_folders / "gt"
    form = published(gt=str(gt), lq=str(gt))
    form |= {"num_gpu": 0, "hook_names": "decoder", "network_g": {**SMALL, "window_size": 4}}
    form["network_dc"] = {"type": "PromptIR_NoImg_DC", "feature_dims": [4, 8], "num_classes": 5}
    for key, section in form["datasets"].items():
        section["gt_size"] = 16 if key.startswith("train") else 24
    form["dataloader"] |= {"num_worker_per_gpu": 0, "batch_size_per_gpu": 4}
    form["dataloader_val"]["num_worker_per_gpu"] = 0
    form["train"] |= {"total_iter": 2, "scheduler": {**form["train"]["scheduler"], "periods": [4]}}
    form["val"]["val_freq"] = 2
    form["logger"] |= {"print_freq": 1, "save_checkpoint_freq": 2}
    return form
