"""What a command says about an error: whose it is, in one line, and with which exit code."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from uir.cli import main
from uir.cli.faults import Fault, fault_of

Write = Callable[..., Path]


def call(*arguments: object) -> int:
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def fault(function: Callable[[], Any], command: str = "") -> Fault:
    """What is said about the error that a function raises."""
    try:
        function()
    except Exception as error:
        return fault_of(error, command)
    raise AssertionError("no error")


@pytest.fixture
def foul_network(write_options: Write) -> Callable[[str], Path]:
    """Writes an option file whose network, of a plugin, runs a line in its `forward`."""

    def write(line: str) -> Path:
        name = f"Foul{abs(hash(line))}"
        file = write_options({"plugins": ["./foul.py"], "network_g": {"type": name}})
        (file.parent / "foul.py").write_text(
            "import torch\nfrom torch import nn\nfrom uir.registry import ARCH_REGISTRY\n"
            "@ARCH_REGISTRY.register()\n"
            f"class {name}(nn.Module):\n"
            "    def __init__(self):\n        super().__init__()\n        self.body = nn.Conv2d(3, 3, 1)\n"
            f"    def forward(self, lq):\n        {line}\n"
        )
        return file

    return write


def test_a_fault_in_a_plugin_is_the_plugin_s(
    foul_network: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", "-opt", foul_network("return lq.no_such_thing")) == 1
    error = capsys.readouterr().err
    last = error.splitlines()[-1]
    assert "Traceback" in error
    assert "foul.py, not in uir: AttributeError in line 10, in forward: " in last


def test_an_error_of_torch_below_a_plugin_is_the_plugin_s(
    foul_network: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", "-opt", foul_network("return torch.nn.functional.conv2d(lq, self.body.weight[:, :1])")) == 1
    assert "foul.py, not in uir: RuntimeError in line 10" in capsys.readouterr().err.splitlines()[-1]


def test_a_check_of_a_plugin_is_one_line_that_names_it(
    foul_network: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", "-opt", foul_network("raise ValueError('the side must be even')")) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("uir: the side must be even (said by the plugin ")
    assert "Traceback" not in error


def test_a_fault_in_basicsr_is_basicsr_s(basicsr: Any) -> None:
    from basicsr.utils.registry import ARCH_REGISTRY

    said = fault(lambda: ARCH_REGISTRY.get("NoSuchNetwork"))
    assert said.message.startswith("the error is in basicsr (basicsr/utils/registry.py), not in uir: KeyError")


def test_a_fault_of_uir_names_its_line() -> None:
    from uir.core.names import is_plain_name

    said = fault(lambda: is_plain_name(3))  # type: ignore[arg-type]
    assert said.message.startswith("this is a fault of uir, not yours: ")
    assert "uir/core/names.py, line " in said.message
    assert (said.code, said.with_traceback) == (1, True)


def test_an_error_of_torch_below_uir_names_both() -> None:
    from uir.registry.components import build_network

    said = fault(lambda: build_network({"type": "NAFNet", "width": 4})(torch.zeros(1, 4, 8, 8)))
    assert said.message.startswith("torch refuses what uir gave it: RuntimeError in uir/archs/nafnet_arch.py, line ")
    assert (said.code, said.with_traceback) == (1, True)


@pytest.mark.parametrize("content", [None, "a: [", "nonsense: 1", "a: 1\na: 2", "- 1", "plugins: [./no.py]"])
def test_checking_with_json_always_gives_json(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "run.yml").write_text(content)
    assert call("check", "-opt", tmp_path / "run.yml", "--json") == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert answer["problems"]


def test_checking_with_json_gives_json_for_a_fault_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("uir.config.options.load_options", lambda *_, **__: {}["x"])
    assert call("check", "-opt", Path(__file__).parents[2] / "options/train/uir_small_demo.yml", "--json") == 1
    printed = capsys.readouterr()
    assert "KeyError" in json.loads(printed.out)["problems"][0]
    assert "Traceback" in printed.err


def raised(error: BaseException) -> Callable[[], None]:
    """A function that raises an error."""

    def function() -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "command", "says"),
    [
        (OSError(errno.ENOSPC, "No space", "net.pth"), "train", "net.pth: cannot be written, the disk is full"),
        (OSError(errno.ENOSPC, "No space", "net.pth"), "train", "--auto_resume"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), "restore", "out: Permission denied"),
        (OSError(errno.EROFS, "Read-only file system", "out"), "train", "out: Read-only file system"),
        (OSError(errno.EMFILE, "Too many open files", "a.png"), "train", "ulimit"),
        (OSError("Caught OSError in DataLoader worker process 0.\n  x\nOSError: [Errno 5] No answer: 'a.png'\n"),
         "train", "a.png: No answer"),
        (MemoryError(), "restore", "--tile"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB"), "train", "batch_size_per_gpu"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "restore", "not enough memory in this"),
        (AssertionError("Torch not compiled with CUDA enabled"), "restore", "no such GPU"),
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "), "train", "(12) was stopped from"),
        (RuntimeError("DataLoader worker (pid(s) 12, 14) exited unexpectedly"), "train", "(12, 14) ended before"),
        (RuntimeError("DataLoader worker (pid 3) is killed by signal: Bus error. It"), "train", "/dev/shm"),
    ],
)  # fmt: skip
def test_what_the_machine_refuses_is_one_line_for_the_user(error: BaseException, command: str, says: str) -> None:
    said = fault(raised(error), command)
    assert says in said.message
    assert "\n" not in said.message
    assert (said.code, said.with_traceback) == (2, False)


def test_a_loader_s_process_that_is_killed_is_one_line_and_no_traceback(
    write_options: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write_options(
        {
            "plugins": ["./small_net.py", "./killed.py"],
            "datasets.val.type": "KilledDataset",
            "datasets.val.num_worker_per_gpu": 1,
        }
    )
    (file.parent / "killed.py").write_text(
        "import os, signal\nfrom torch.utils.data import get_worker_info\n"
        "from uir.data.paired_image_dataset import PairedImageDataset\nfrom uir.registry import DATASET_REGISTRY\n"
        "@DATASET_REGISTRY.register()\n"
        "class KilledDataset(PairedImageDataset):\n"
        "    def sample(self, index, seed):\n"
        "        if get_worker_info() is not None:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().sample(index, seed)\n"
    )
    assert call("test", "-opt", file) == 2
    error = capfd.readouterr().err
    assert "uir: a process that loads data (" in error.splitlines()[-1]
    assert "Traceback" not in error


@pytest.fixture
def restoring(tmp_path: Path, pair_folders: Path) -> tuple[object, ...]:
    """A command that restores one image with a small network."""
    from uir.core.checkpoint import write_checkpoint
    from uir.registry.components import build_network

    arch = {"type": "NAFNet", "width": 4}
    card = {"arch": arch, "scale": 1, "predictor": {"type": "NetworkPredictor"}}
    write_checkpoint(tmp_path / "net.pth", {"params": build_network(arch).state_dict()}, card)
    return ("restore", pair_folders / "lq" / "0.png", "-o", tmp_path / "out", "--model", tmp_path / "net.pth")


def test_an_image_that_does_not_fit_into_memory_is_told_of_tiles(
    restoring: tuple[object, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("uir.inference.restorer.Restorer.bands", lambda *_, **__: np.zeros(2**55))
    assert call(*restoring, "--device", "cpu") == 1
    assert "0.png: not enough memory in this machine; --tile 512 restores in tiles" in capsys.readouterr().out


def test_a_device_that_is_not_there_is_one_line(
    restoring: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*restoring, "--device", "cuda:99") == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("uir: device 'cuda:99': there is no such device (")
    assert "Traceback" not in error


@pytest.mark.thorough
def test_output_that_nobody_reads_any_more_is_no_fault() -> None:
    program = f"{sys.executable} -m uir list archs --json | head -c 1"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("{", "")
