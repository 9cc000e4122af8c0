"""Images that a network restores to NaN: named and counted in a test, never measured, never a black picture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch import Tensor, nn

from uir.cli import main
from uir.config.options import load_options
from uir.engine.testing import test as run_test
from uir.engine.train_loop import train
from uir.registry import ARCH_REGISTRY

Write = Callable[..., Path]


@ARCH_REGISTRY.register()
class NoBlackRestorer(nn.Module):
    """0.9 · x / (whether some of x is not black): a black image gives NaN."""

    pad_multiple = scale = 1

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Conv2d(3, 3, 1)

    def forward(self, lq: Tensor) -> Tensor:
        return lq * (self.gain.weight.sum() * 0 + 0.9) / (lq.amax() > 0).float()


@pytest.fixture
def file(write_options: Write, pair_folders: Path, tmp_path: Path) -> Path:
    """A file whose set of six images has a black one."""
    folder = tmp_path / "six"
    shutil.copytree(pair_folders / "gt", folder)
    cv2.imwrite(str(folder / "2.png"), np.zeros((64, 72, 3), np.uint8))
    places = {"train": pair_folders / "gt", "val": folder}
    roots = {f"datasets.{key}.dataroot_{kind}": str(places[key]) for key in places for kind in ("gt", "lq")}
    changes = {**roots, "scale": 1, "network_g": {"type": "NoBlackRestorer"}, "val.save_img": True}
    return write_options({**changes, "val.sheet": {"images": 6}, "val.keep_best": "psnr"})


@pytest.mark.thorough
def test_it_is_named_counted_and_left_out(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_options(file, is_train=False)
    evaluation = run_test(loaded)[0]
    assert [Path(name).name for name in evaluation.nonfinite] == ["2.png"]
    assert evaluation.images == 6
    assert np.isfinite(evaluation.results["psnr"])
    printed = capsys.readouterr()
    assert "6 (1 not finite)" in printed.out
    assert "2.png: 13824 values of the restored image are NaN or infinity" in printed.out + printed.err
    pictures = sorted(path.name for path in (loaded.run_dir / "visualization" / "val").iterdir())
    assert pictures == [f"{number}_small.png" for number in (0, 1, 3, 4, 5)]
    assert "6 (1 not finite)" in (loaded.run_dir / "metrics.md").read_text()


@pytest.mark.thorough
def test_the_json_is_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["test", "-opt", str(file), "--json"])
    assert not stop.value.code
    answer = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [Path(name).name for name in answer[0]["nonfinite"]] == ["2.png"]


def test_a_validation_with_such_an_image_is_never_the_best(file: Path) -> None:
    folder = train(load_options(file, force=["train:total_iter=1", "val:val_freq=1"]))
    assert not list((folder / "models").glob("*best*"))
    assert "2.png: 13824 values" in next(folder.glob("*.log")).read_text()
