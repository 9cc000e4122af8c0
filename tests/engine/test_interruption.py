"""A signal during a validation: the run saves at once, and a resumed run repeats the validation."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from uir.compat import basicsr_names
from uir.config.options import load_options
from uir.core.checkpoint import read_file
from uir.engine.interruption import Interrupted
from uir.engine.train_loop import train
from uir.models.base_model import BaseModel

Write = Callable[..., Path]


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def signal_at(
    monkeypatch: pytest.MonkeyPatch, image: int, owner: Any = BaseModel, method: str = "predict"
) -> list[int]:
    """Send SIGTERM while that image is restored, counted from 1 over all validations; the list holds the count."""
    count = [0]
    original = getattr(owner, method)

    def restore(self: Any, *arguments: Any, **named: Any) -> Any:
        count[0] += 1
        if count[0] == image:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments, **named)

    monkeypatch.setattr(owner, method, restore)
    return count


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("changes", "image", "at"),
    [
        ({"logger.save_checkpoint_freq": 4}, 2, 3),
        ({}, 8, 6),  # the last validation of the loop
        ({"val.val_freq": None, "logger.save_checkpoint_freq": 4}, 2, 6),  # the one after the loop
        ({"two sets": True}, 8, 3),  # the first set of the two was measured already
    ],
)
def test_a_signal_while_validating_saves_at_once_and_loses_nothing(
    write_options: Write, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], image: int, at: int
) -> None:
    file = write_options({key: value for key, value in changes.items() if key != "two sets"})
    force = ["datasets:val_2:type=PairedImageDataset"] if "two sets" in changes else []
    if force:
        sets = load_options(file).raw["datasets"]["val"]
        force += [f"datasets:val_2:{key}={sets[key]}" for key in ("dataroot_gt", "dataroot_lq")]
    whole = train(load_options(file, force=["name=whole", *force]))
    parts = load_options(file, force=["name=parts", *force])
    with monkeypatch.context() as patch:
        count = signal_at(patch, image)
        with pytest.raises(Interrupted) as stopped:
            train(parts)
    assert stopped.value.code == 143
    assert count[0] == image
    assert max(int(state.stem) for state in (parts.run_dir / "training_states").glob("*.state")) == at
    train(parts, auto_resume=True)
    assert rows(parts.run_dir) == rows(whole)
    one, other = (read_file(folder / "models" / "net_g_latest.pth")["params"] for folder in (whole, parts.run_dir))
    assert all(torch.equal(one[key], other[key]) for key in one)
    if not changes:
        ends = [read_file(folder / "training_states" / "6.state")["uir"] for folder in (parts.run_dir, whole)]
        assert ends[0]["best"] == ends[1]["best"]
        assert not ends[0]["must_validate"]


@pytest.mark.thorough
@pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed")
def test_the_validation_of_a_basicsr_model_stops_too(write_options: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    net = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "upscale": 2}
    loaded = load_options(write_options({"model_type": "basicsr:SRModel", "network_g": net}))
    from uir.registry import MODEL_REGISTRY

    with monkeypatch.context() as patch:
        count = signal_at(patch, 2, MODEL_REGISTRY.get("basicsr:SRModel"), "test")
        with pytest.raises(Interrupted):
            train(loaded)
    assert count[0] == 2
    train(loaded, auto_resume=True)
    assert [row["iter"] for row in rows(loaded.run_dir) if "dataset" in row] == [3, 6]
