"""The command line, as a user types it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from uir.cli import main, spread
from uir.compat import basicsr_names
from uir.core.checkpoint import write_checkpoint
from uir.registry import MODEL_REGISTRY
from uir.train import train_pipeline

Write = Callable[..., Path]


def call(*arguments: object) -> int:
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def test_help_loads_no_torch() -> None:
    code = (
        "import sys; from uir.cli import app; app(['--help'], standalone_mode=False); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


def test_force_yml_takes_several_values_as_basicsr_does() -> None:
    argv = ["train", "-opt", "x", "--force_yml", "a=1", "b:c=2", "--debug"]
    assert spread(argv) == ["train", "-opt", "x", "--force_yml", "a=1", "--force_yml", "b:c=2", "--debug"]


@pytest.mark.thorough
def test_training_ends_with_the_command_that_restores(
    write_options: Write, pair_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_options()
    assert call("train", "-opt", file, "--force_yml", "train:total_iter=2", "logger:save_checkpoint_freq=2") == 0
    said = capsys.readouterr().out.splitlines()
    weights = file.parents[1] / "experiments" / "small" / "models" / "net_g_latest.pth"
    assert any(line.endswith(f"The trained network is {weights}") for line in said)
    (command,) = [line.split("with it: ")[1] for line in said if "To restore photographs with it: " in line]
    assert str(pair_folders / "lq") in command
    assert call(*shlex.split(command.replace("-o restored", f"-o {tmp_path}/out"))[1:]) == 0
    written = sorted((tmp_path / "out").iterdir())
    assert [p.name for p in written] == [f"{i}.png" for i in range(6)]
    assert cv2.imread(str(written[0])).shape == (64, 72, 3)


@pytest.mark.thorough
def test_restore_names_what_it_could_not_restore(
    write_options: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from uir.config.options import load_options
    from uir.registry import ARCH_REGISTRY

    file = write_options()
    load_options(file)
    torch.save({"params": ARCH_REGISTRY.get("PixelShuffleSR")(6, 2).state_dict()}, tmp_path / "net.pth")
    (tmp_path / "in").mkdir()
    for name in ("a.png", os.fsdecode(b"caf\xe9.png")):
        cv2.imwrite(str(tmp_path / "a.png"), np.zeros((5, 6, 3), np.uint8))
        (tmp_path / "a.png").rename(tmp_path / "in" / name)
    command = ("restore", tmp_path / "in", "-o", tmp_path / "out", "--model", tmp_path / "net.pth", "-opt", file)
    assert call(*command) == 0
    assert capsys.readouterr().out == f"2 images restored, written to {tmp_path}/out\n"
    assert call(*command) == 2
    assert "--overwrite replaces what is there" in capsys.readouterr().err
    (tmp_path / "in" / os.fsdecode(b"b\xe9d.png")).write_bytes(b"nonsense")
    (tmp_path / "in" / "c.gif").touch()
    assert call(*command, "--overwrite", "--json") == 1
    outcome = json.loads(capsys.readouterr().out)
    assert {group: len(rows) for group, rows in outcome.items()} == {"restored": 2, "failed": 1, "left_out": 1}
    assert outcome["failed"][0]["file"] == f"{tmp_path}/in/{os.fsdecode(bytes([98, 233, 100]))}.png"
    program = [sys.executable, "-m", "uir.cli.main", *map(str, command), "--overwrite", "--max_pixels", "29"]
    done = subprocess.run(program, capture_output=True, timeout=120, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 1
    assert b"3 images failed:" in done.stdout
    assert b"b\\udce9d.png: cannot be decoded" in done.stdout
    assert b"more than the limit of 29" in done.stdout


@pytest.mark.thorough
def test_python_m_uir_train_works(write_options: Write) -> None:
    command = [sys.executable, "-m", "uir.train", "-opt", str(write_options()), "--force_yml", "train:total_iter=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "End of training" in done.stdout  # `| tee log.txt` gets it


@pytest.mark.thorough
@pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed")
def test_train_pipeline_of_a_script_finds_what_the_script_registered(write_options: Write, tmp_path: Path) -> None:
    """BasicSR's habit: a script imports its own modules, then calls train_pipeline(root_path)."""
    file = write_options({"plugins": None, "network_g": {"type": "ScriptNet"}})
    script = tmp_path / "my_train.py"
    script.write_text(
        "from uir.train import train_pipeline\n"
        "from basicsr.utils.registry import ARCH_REGISTRY\n"
        "from torch import nn\n"
        "@ARCH_REGISTRY.register()\n"
        "class ScriptNet(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))\n"
        f"if __name__ == '__main__':\n    print(train_pipeline({str(tmp_path)!r}))\n"
    )
    command = [sys.executable, str(script), "-opt", str(file), "--force_yml", "train:total_iter=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "experiments" / "small" / "models" / "net_g_latest.pth").exists()


def test_train_pipeline_returns_the_folder(write_options: Write, tmp_path: Path) -> None:
    folder = train_pipeline(tmp_path, ["-opt", str(write_options()), "--force_yml", "train:total_iter=1"])
    assert folder == tmp_path / "experiments" / "small"


def test_check_reports_every_mistake_and_exits_with_2(write_options: Write, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_options({"train.ema_decya": 0.9, "scal": 2})
    assert call("check", "-opt", file) == 2
    out = capsys.readouterr().out
    assert "did you mean ema_decay?" in out
    assert "did you mean scale?" in out
    assert "2 problems" in out


def test_check_as_json(write_options: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", "-opt", write_options(), "--json") == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


@pytest.mark.thorough
def test_check_prints_a_schema_with_the_plugins_of_the_file(
    write_options: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("check", "--schema", "-opt", write_options()) == 0
    text = capsys.readouterr().out
    assert json.loads(text)["$schema"].startswith("https://json-schema.org/draft/2020-12")
    assert "PixelShuffleSR" in text


def test_a_plugin_s_undeclared_keys_are_listed_as_unchecked(
    write_options: Write,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(MODEL_REGISTRY._objects, "plugin", dict(MODEL_REGISTRY._objects["plugin"]))
    file = write_options({"model_type": "MyModel", "my_key": 3, "plugins": ["./small_net.py", "./my_model.py"]})
    (file.parent / "my_model.py").write_text(
        "from uir.registry import MODEL_REGISTRY\n"
        "@MODEL_REGISTRY.register()\n"
        "class MyModel:\n"
        "    def __init__(self, opt):\n"
        "        self.opt = opt\n"
    )
    assert call("check", "-opt", file) == 0
    assert "unchecked: my_key" in capsys.readouterr().out
    file.write_text(file.read_text().replace("my_key", "manual_sed"))
    assert call("check", "-opt", file) == 0
    assert "manual_sed is left to the plugin, for uir does not know it; did you mean 'manual_seed'?" in caplog.text


def test_list_names_origins_and_shadows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = tmp_path / "my_loss.py"
    plugin.write_text(
        "from torch import nn\nfrom uir.registry import LOSS_REGISTRY\n"
        "@LOSS_REGISTRY.register()\nclass ListedLoss(nn.Module):\n    '''A loss of my own.'''\n"
    )
    assert call("list", "losses", "--plugin", plugin, "--json") == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["losses"]}
    assert (entries["ListedLoss"]["origin"], entries["ListedLoss"]["summary"]) == ("plugin", "A loss of my own.")
    assert entries["L1Loss"]["origin"] == "uir"


def test_the_list_of_degradations_shows_the_test_sets(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("list", "degradations", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == ["degradations", "test_sets"]
    assert "gaussian8" in [entry["name"] for entry in listed["test_sets"]]


def test_a_network_of_the_user_s_own_needs_its_plugin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_checkpoint(tmp_path / "net.pth", {"params": {"weight": torch.zeros(1)}}, {"arch": {"type": "NetOfMyOwn"}})
    assert call("restore", __file__, "-o", tmp_path / "out", "--model", tmp_path / "net.pth") == 2
    error = capsys.readouterr().err
    assert f"{tmp_path}/net.pth: no arch is called 'NetOfMyOwn'" in error
    assert "--plugin" in error


def test_degrading_is_reproducible(photographs: list[Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert (
            call(
                "degrade", photographs[0], "-o", tmp_path / name, "--recipe", "GaussianNoise", "--seed", 3, "--records"
            )
            == 0
        )
    one, other = ((tmp_path / name / f"{photographs[0].stem}.png").read_bytes() for name in "ab")
    assert one == other
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "-opt", "none.yml"), "none.yml: No such file"),
        (("train",), "-opt"),
        (("restore", "nowhere", "-o", "out", "--model", "none.pth"), "nowhere: there is no such file or folder"),
        (("restore", str(Path(__file__)), "--model", "none.pth"), "name the folder to write to: -o FOLDER"),
        (("restore", "-o", "out", "--model", "none.pth"), "name the photographs to restore"),
        (
            ("restore", str(Path(__file__)), "-o", "out", "--model", "."),
            "is a folder without a trained network; name a file",
        ),
        (("restore", "setup.py", "-o", "a.gif", "--model", "none.pth"), "a.gif: cannot write '.gif' files"),
        (("restore", str(Path(__file__)), "-o", "out", "--model", "none.pth"), "none.pth: there is no such file"),
        (("degrade", "nowhere", "-o", "out", "--recipe", "GausianNoise"), "GaussianNoise"),
        (("list", "arch"), "arch"),
    ],
)
def test_a_user_s_mistake_is_one_clear_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.thorough
def test_a_damaged_image_in_a_loader_s_process_is_the_user_s_mistake(
    write_options: Write, pair_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "pairs"
    shutil.copytree(pair_folders, copied)
    (copied / "lq" / "3.png").write_bytes(b"nonsense")
    roots = {f"datasets.val.dataroot_{kind}": str(copied / kind) for kind in ("lq", "gt")}
    file = write_options({**roots, "datasets.val.num_worker_per_gpu": 1})
    assert call("test", "-opt", file) == 2
    error = capsys.readouterr().err
    assert "3.png" in error.splitlines()[-1]
    assert "Traceback" not in error


def test_train_as_json_prints_one_object(write_options: Write, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_options({"train.total_iter": 3})
    assert call("train", "-opt", file, "--json") == 0
    done = json.loads(capsys.readouterr().out)
    run = file.parents[1] / "experiments" / "small"
    assert (done["result"], done["run_folder"]) == ("finished", str(run))
    assert done["checkpoint"] == {"g": str(run / "models" / "net_g_latest.pth")}
    assert (done["metrics"]["val"]["iter"], done["metrics"]["val"]["psnr"] > 0) == (3, True)


@pytest.mark.thorough
def test_json_of_a_test_is_all_that_standard_output_holds(write_options: Write) -> None:
    command = [sys.executable, "-m", "uir", "test", "-opt", str(write_options()), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert json.loads(done.stdout)[0]["images"] == 6


@pytest.mark.thorough
def test_restoring_with_an_option_file_imports_its_plugins(
    write_options: Write, pair_folders: Path, tmp_path: Path
) -> None:
    file = write_options()
    assert call("train", "-opt", file, "--force_yml", "train:total_iter=1") == 0
    weights = file.parents[1] / "experiments" / "small" / "models" / "net_g_latest.pth"
    command = [
        sys.executable,
        "-m",
        "uir",
        "restore",
        str(pair_folders / "lq" / "0.png"),
        "-o",
        str(tmp_path / "x.png"),
    ]
    done = subprocess.run(
        [*command, "--model", str(weights), "-opt", str(file)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.thorough
def test_our_own_fault_is_exit_code_1_with_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("uir.config.options.load_options", lambda *a, **k: np.zeros(3)[5])
    assert call("train", "-opt", "x.yml") == 1
    assert "Traceback" in capsys.readouterr().err
