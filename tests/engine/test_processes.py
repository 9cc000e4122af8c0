"""Two processes (torchrun, gloo) do what one does with the doubled batch; a failing one is named."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adversarial_options import changes

from uir.config.options import load_options
from uir.core import distributed
from uir.core.checkpoint import read_file
from uir.core.distributed import first_host, launcher_of, mean_over_processes, processes, slurm_environment
from uir.core.images import read_rgb
from uir.engine.train_loop import train

Write = Callable[..., Path]

NET = '''
from torch import nn
from uir.registry import ARCH_REGISTRY

@ARCH_REGISTRY.register()
class PlainSR(nn.Sequential):
    """Without batch statistics, which differ between one batch of four and two of two."""
    def __init__(self):
        super().__init__(nn.Conv2d(3, 6, 3, padding=1), nn.GELU(), nn.Conv2d(6, 12, 3, padding=1), nn.PixelShuffle(2))

from uir.metrics.fid_metric import frechet_distance
from uir.registry import METRIC_REGISTRY
import torch

@METRIC_REGISTRY.register()
class ColourDistance:
    """FID's distance with the mean colours as features: a metric of the whole set."""
    better = "lower"
    def update(self, restored, gt):
        return [image.double().mean((2, 3)) for image in (restored, gt)]
    def compute(self, contributions):
        return frechet_distance(*(torch.cat(rows) for rows in zip(*contributions)))
'''
CHANGES: dict[str, Any] = {
    "plugins": ["./plain.py"],
    "network_g": {"type": "PlainSR"},
    "train.total_iter": 20,
    "train.ema_decay": 0.9,
    "train.scheduler": None,
    "train.optim_g": {"type": "Adam", "lr": 2e-4},
    "train.pixel_opt": {"type": "MSELoss"},  # smooth: L1 counts signs, and Adam makes a whole step of a rounded one
    "val.val_freq": 20,
    "val.metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2}, "distance": {"type": "ColourDistance"}},
    "val.sheet": {"images": 3},
    "logger.save_checkpoint_freq": 10,
}


def launch(file: Path, processes: int, *more: str) -> subprocess.CompletedProcess[str]:
    (file.parent / "plain.py").write_text(NET)
    command = [sys.executable, "-m", "uir", "train", "-opt", str(file), *more]
    if processes > 1:
        run = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            f"--nproc_per_node={processes}",
            "--standalone",
            "-m",
        ]
        command = [*run, "uir", "train", "--launcher", "pytorch", "-opt", str(file), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)


def run_of(file: Path, processes: int, *more: str) -> Path:
    done = launch(file, processes, *more)
    assert done.returncode == 0, done.stdout + done.stderr
    name = next((text.removeprefix("name=") for text in more if text.startswith("name=")), "small")
    return file.parents[1] / "experiments" / name


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory, pair_folders: Path) -> tuple[Path, Path]:
    """The folders of a run of one process with batches of four, and of two processes with batches of two."""
    import yaml
    from small_options import sr_options

    options = sr_options(pair_folders)
    for dotted, value in CHANGES.items():
        *parents, leaf = dotted.split(".")
        target = options
        for key in parents:
            target = target[key]
        target[leaf] = value
    file = tmp_path_factory.mktemp("processes") / "options" / "run.yml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(options))
    one = run_of(
        file,
        1,
        "--force_yml",
        "datasets:train:batch_size_per_gpu=4",
        "datasets:train:dataset_enlarge_ratio=4",
        "name=one",
    )
    two = run_of(file, 2, "--force_yml", "datasets:train:dataset_enlarge_ratio=4", "name=two")
    return one, two


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.thorough
def test_weights_and_averages_agree_after_twenty_steps(two_runs: tuple[Path, Path]) -> None:
    one, two = (read_file(folder / "models" / "net_g_20.pth") for folder in two_runs)
    for kind in ("params", "params_ema"):
        for key, value in one[kind].items():
            torch.testing.assert_close(value, two[kind][key], atol=1e-5, rtol=0)


@pytest.mark.thorough
def test_losses_are_the_mean_over_the_processes(two_runs: tuple[Path, Path]) -> None:
    one, two = ([row["l_pix"] for row in rows(folder) if "l_pix" in row] for folder in two_runs)
    assert len(one) == len(two) == 20
    assert one == pytest.approx(two, abs=1e-5)


@pytest.mark.thorough
def test_a_sharded_validation_counts_every_image_once(two_runs: tuple[Path, Path]) -> None:
    one, two = ([row["metrics"]["psnr"] for row in rows(folder) if "metrics" in row] for folder in two_runs)
    assert one == pytest.approx(two, abs=1e-3)


@pytest.mark.thorough
def test_a_metric_of_a_set_takes_the_images_of_all_processes(two_runs: tuple[Path, Path]) -> None:
    one, two = ([row["metrics"]["distance"] for row in rows(folder) if "metrics" in row] for folder in two_runs)
    assert len(one) == 1
    assert one[0] > 0
    assert one == pytest.approx(two, rel=1e-3)


@pytest.mark.thorough
def test_the_sheet_of_a_sharded_validation_has_the_same_rows(two_runs: tuple[Path, Path]) -> None:
    one, two = (read_rgb(folder / "visualization" / "sheet_20.png") for folder in two_runs)
    assert one.shape == two.shape
    assert abs(one - two).max() < 0.02


@pytest.mark.thorough
def test_one_process_writes(two_runs: tuple[Path, Path]) -> None:
    names = [sorted(p.name for p in (folder / "models").iterdir()) for folder in two_runs]
    assert names[0] == names[1] == ["net_g_10.pth", "net_g_20.pth", "net_g_latest.pth"]
    assert len(list(two_runs[1].glob("*.log"))) == 1


@pytest.mark.thorough
def test_a_resumed_run_of_two_processes_equals_an_uninterrupted_one(two_runs: tuple[Path, Path]) -> None:
    file = two_runs[1].parents[1] / "options" / "run.yml"
    force = ["--force_yml", "datasets:train:dataset_enlarge_ratio=4", "name=parts"]
    run_of(file, 2, *force, "train:total_iter=10")
    parts = run_of(file, 2, *force[:-1], "name=parts", "--auto_resume")
    one, other = (read_file(folder / "models" / "net_g_20.pth")["params"] for folder in (two_runs[1], parts))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.thorough
def test_a_discriminator_and_its_restorer_learn_in_two_processes_as_in_one(write_options: Write) -> None:
    shared = {key: value for key, value in CHANGES.items() if not key.startswith("val")}
    penalty = {"train.r1_opt": {"type": "R1Loss", "every": 2}}  # no gradient at the biases, for which DDP waits
    rate = {"type": "Adam", "lr": 2e-4}
    adversarial = changes("SRGANModel", **{"train.total_iter": 6, "train.optim_d": rate, **penalty})
    file = write_options({**shared, **adversarial})
    force = ["--force_yml", "datasets:train:dataset_enlarge_ratio=4", "logger:save_checkpoint_freq=6"]
    one = run_of(file, 1, *force, "datasets:train:batch_size_per_gpu=4", "name=one")
    two = run_of(file, 2, *force, "name=two")
    for role in ("g", "d"):
        expected, weights = (read_file(run / "models" / f"net_{role}_6.pth")["params"] for run in (one, two))
        assert expected.keys() == weights.keys()
        for key, value in expected.items():
            torch.testing.assert_close(weights[key], value, atol=1e-5, rtol=0)


@pytest.mark.thorough
def test_a_drawn_seed_is_the_same_in_all_processes(write_options: Write) -> None:
    """Else their shares of the data would overlap."""
    file = write_options({**CHANGES, "manual_seed": None, "plugins": ["./plain.py", "./telling.py"]})
    (file.parent / "telling.py").write_text(
        "import os\nfrom uir.data import building\n"
        "was = building.BatchStream.next\n"
        "def told(self):\n"
        "    os.write(1, f\"seed of {os.environ['RANK']} {self.sampler.seed}\\n\".encode())\n"
        "    return was(self)\n"
        "building.BatchStream.next = told\n"
    )
    done = launch(file, 2, "--force_yml", "train:total_iter=1", "val=~")
    seeds = {line.split()[2]: line.split()[3] for line in done.stdout.splitlines() if line.startswith("seed of")}
    assert set(seeds) == {"0", "1"}
    assert seeds["0"] == seeds["1"]


@pytest.mark.thorough
def test_a_rank_that_fails_ends_the_job_and_is_named(write_options: Write) -> None:
    file = write_options({**CHANGES, "plugins": ["./plain.py", "./failing.py"], "train.broken_opt": {"type": "Broken"}})
    (file.parent / "failing.py").write_text(
        "import os\nfrom torch import nn\nfrom uir.registry import LOSS_REGISTRY\n"
        "@LOSS_REGISTRY.register()\n"
        "class Broken(nn.Module):\n"
        "    def forward(self, restored, gt):\n"
        "        if os.environ.get('RANK') == '1':\n"
        "            raise ValueError('the disk of this node is full')\n"
        "        return (restored - gt).mean()\n"
    )
    done = launch(file, 2)
    assert done.returncode != 0
    assert "rank 1 of 2 failed" in done.stderr
    assert "the disk of this node is full" in done.stderr


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("gpu7", "gpu7"), ("gpu[03-05,9],cpu1", "gpu03"), ("a1,a2", "a1"), ("n[1,4]-ib", "n1-ib")],
)
def test_slurm_s_first_host(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_slurm_s_variables_are_understood() -> None:
    slurm = {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_NODELIST": "gpu[03-04]"}
    assert slurm_environment(slurm) == {
        "RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu03", "MASTER_PORT": "29500",
    }  # fmt: skip
    with pytest.raises(ValueError, match="lacks SLURM_PROCID"):
        slurm_environment({})


def test_the_port_of_the_file_is_slurm_s() -> None:
    slurm = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_NODELIST": "gpu1", "MASTER_PORT": "29400"}
    assert [slurm_environment(slurm, port)["MASTER_PORT"] for port in (None, 29511)] == ["29400", "29511"]


@pytest.mark.parametrize("launcher", ["slurm", "pytorch"])
def test_only_slurm_s_launcher_reads_slurm_s_variables(launcher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class ReachedError(Exception):
        pass

    def join(backend: str) -> None:
        raise ReachedError(os.environ["RANK"], os.environ["MASTER_PORT"], backend)

    torchrun = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29999"}
    for key, value in {**torchrun, "SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_NODELIST": "gpu7"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("torch.distributed.init_process_group", join)
    with pytest.raises(ReachedError) as reached, processes(launcher, "cpu", None, 29511):
        pass
    expected = ("1", "29511", "gloo") if launcher == "slurm" else ("0", "29999", "gloo")
    assert reached.value.args == expected


@pytest.mark.parametrize(
    ("port", "rank", "is_told"), [(29500, "0", True), (30500, "0", True), (29999, "0", False), (30500, "1", False)]
)
def test_a_port_that_torchrun_does_not_use_is_told_once(
    port: int, rank: str, is_told: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torchrun = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29999"}
    for key, value in torchrun.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("torch.distributed.init_process_group", lambda backend: 1 / 0)
    with caplog.at_level("WARNING", "uir"), pytest.raises(ZeroDivisionError), processes("pytorch", "cpu", None, port):
        pass
    assert (f"dist_params.port: {port} is not used" in caplog.text) == is_told


def test_a_port_without_a_launcher_is_told_to_do_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with processes("none", "cpu", None, 29511):
        assert "dist_params.port: 29511 has no effect without a launcher" in caplog.text


def test_the_mean_over_processes_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "rank_and_world", lambda: (0, 2))
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: tensor.mul_(2))  # the other has the same values
    assert mean_over_processes({"a": 0.1, "b": 1 / 3}) == {"a": 0.1, "b": 1 / 3}


def test_num_gpu_without_a_launcher_is_said_to_do_nothing(
    write_options: Write, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uir.engine.run.start_logging", lambda file: logging.getLogger("uir").setLevel("INFO"))
    train(load_options(write_options({"num_gpu": 4, "train.total_iter": 1})))
    assert "num_gpu: 4 has no effect without a launcher: one process uses one device, with batches of 2" in caplog.text
    assert "batches of 8" in caplog.text


def test_torchrun_is_recognised_without_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert launcher_of("none") == "none"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert launcher_of("none") == "pytorch"
