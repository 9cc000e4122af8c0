"""Every file of examples/ runs."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_release import LABELS, small_release

from uir.core.images import read_image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
Run = Callable[..., None]


@pytest.fixture
def run_example(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs an example with the words of its command line."""

    def run(name: str, *words: object) -> None:
        monkeypatch.setattr(sys, "argv", [str(EXAMPLES / name), *map(str, words)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")

    return run


def test_a_photograph_is_restored(run_example: Run, tmp_path: Path, photographs: list[Path]) -> None:
    run_example("restore.py", photographs[0], tmp_path / "out.png", small_release(tmp_path / "it.safetensors"))
    assert read_image(tmp_path / "out.png").shape == read_image(photographs[0]).shape


def test_photographs_are_diagnosed(
    run_example: Run, tmp_path: Path, photographs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("diagnose.py", small_release(tmp_path / "it.safetensors"), *photographs[:2])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(photo) for photo in photographs[:2]]
    assert all(re.search(rf"({'|'.join(LABELS)}), \d+% sure$", line) for line in lines)


def test_a_photograph_is_degraded(run_example: Run, tmp_path: Path, photographs: list[Path]) -> None:
    run_example("degrade.py", photographs[0], tmp_path / "out.png")
    assert (read_image(tmp_path / "out.png") != read_image(photographs[0])).any()


def test_a_network_of_ones_own_is_trained_and_restores(
    run_example: Run, write_options: Any, pair_folders: Path
) -> None:
    changes = {"network_g": {"type": "TwoConvolutions"}, "plugins": [str(EXAMPLES / "plugin.py")], "scale": 1}
    gt = {"dataroot_lq": str(pair_folders / "gt")}
    changes |= {f"datasets.{phase}.{key}": value for phase in ("train", "val") for key, value in gt.items()}
    options = write_options(changes)
    photograph, result = pair_folders / "gt" / "0.png", options.parent / "out.png"
    run_example("train.py", options, photograph, result)
    assert read_image(result).shape == read_image(photograph).shape


def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(EXAMPLES)
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (tmp_path / "notebook.py").write_text("\n\n".join(code))
    names = runpy.run_path(str(tmp_path / "notebook.py"))
    assert names["diagnosis"].label == "noise"
    assert names["psnr"](names["restored"]) > names["psnr"](names["noisy"]) + 3
    assert "GaussianNoise" in capsys.readouterr().out
    assert not any(cell.get("outputs") for cell in cells)


def test_the_page_lists_every_example_and_each_is_short() -> None:
    files = {file.name: file.read_text() for file in EXAMPLES.glob("*.py")}
    listed = re.findall(r"\]\((\w+\.\w+)\)", (EXAMPLES / "README.md").read_text())
    assert set(listed) == {*files, "notebook.ipynb"}
    for name, text in files.items():
        code = [line for line in text.splitlines()[1:] if line.strip()]
        assert len(code) <= 12, name
