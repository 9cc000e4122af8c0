"""The command `uir app`: what it says before a page is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_release import small_release

from uir.cli import main
from uir.cli.arguments import share_cores
from uir.cli.web_page import page_names


def test_without_a_model_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("uir.weights.shipped_weights", dict)
    with pytest.raises(SystemExit) as stop:
        main(["app"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("uir: name the trained network: --model FILE")


@pytest.mark.thorough
def test_without_gradio_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['gradio'] = None; from uir.cli import main; main()"
    words = [sys.executable, "-c", code, "app", "--model", str(small_release(tmp_path / "small.safetensors"))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("uir: the web page needs gradio: pip install 'uir[app]'")


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a/small.safetensors"], ["small"]),
        (["experiments/my_run/models/net_g_latest.pth", "b/net_g_9.pth"], ["my_run, net_g_latest", "b, net_g_9"]),
        (["a/x.pth", "b/x.pth", "b/x.pth"], ["x", "x (2)", "x (3)"]),
    ],
)
def test_the_page_names_models_without_their_folders(files: list[str], names: list[str]) -> None:
    assert page_names([Path(file) for file in files]) == names


def test_waiting_threads_sleep_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
