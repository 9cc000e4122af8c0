"""Further tests with the plug-ins: controls, seeds, streams and metrics of a set work as documented."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from uir.cli import main, run
from uir.config.options import OptionError, load_options
from uir.core.checkpoint import read_file
from uir.engine.train_loop import train
from uir.inference.loading import load_predictor
from uir.inference.predictor import Running, predict
from uir.inference.restorer import Restorer
from uir.metrics.building import build_metric
from uir.registry.plugins import load_plugin

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
CPU = Running(torch.device("cpu"))


def trained(plugin: str, folder: Path) -> Path:
    """The restorer's weights after one step."""
    force = [f"path:experiments_root={folder / 'run'}", "train:total_iter=1", "val=~"]
    run_folder = train(load_options(HERE / f"{plugin}.yml", is_train=True, force=force, root=PROJECT))
    return run_folder / "models" / "net_g_latest.pth"


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained("diffusion", tmp_path_factory.mktemp("diffusion"))


def test_a_sample_follows_from_seed_and_image_not_from_the_batch(diffusion: Path) -> None:
    predictor = load_predictor(diffusion)
    lq = torch.rand(2, 3, 12, 20, generator=torch.Generator().manual_seed(0))
    both = predict(predictor, {"lq": lq, "lq_path": ["x/one.png", "x/two.png"]}, CPU).restored
    alone = predict(predictor, {"lq": lq[1:], "lq_path": ["elsewhere/two.png"]}, CPU).restored
    torch.testing.assert_close(alone, both[1:])
    another = predict(predictor, {"lq": lq[1:], "lq_path": ["two.png"]}, CPU, {"seed": 1}).restored
    assert not torch.allclose(alone, another)


@pytest.mark.thorough
def test_two_processes_sample_what_one_does(diffusion: Path, tmp_path: Path) -> None:
    force = [f"path:pretrain_network_g={diffusion}", "num_gpu=0"]
    results = []
    for processes in (1, 2):
        place = f"path:results_root={tmp_path / f'results{processes}'}"
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"] if processes > 1 else []
        command = [sys.executable, *launcher, "-m", "uir", "test", "-opt", str(HERE / "diffusion.yml"), "--root",
                   str(PROJECT), "--force_yml", *force, place]  # fmt: skip
        done = subprocess.run(
            [*command, "--launcher", "pytorch"] if processes > 1 else command,
            capture_output=True, text=True, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        results.append(json.loads(next(tmp_path.glob(f"results{processes}/**/metrics.json")).read_text()))
    assert results[0]["datasets"][0]["per_image"] == results[1]["datasets"][0]["per_image"]


def test_files_and_tensors_are_sampled_alike(diffusion: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "two.png"), image[..., ::-1])
    run(["restore", str(tmp_path / "two.png"), "-o", str(tmp_path / "out.png"), "--model", str(diffusion),
         "--device", "cpu", "--set", "steps=2"])  # fmt: skip
    written = cv2.imread(str(tmp_path / "out.png"))[..., ::-1]
    restored = Restorer(load_predictor(diffusion))(image, name="two", steps=2)
    assert np.array_equal(written, restored)


def test_a_sweep_writes_a_file_for_each_value(diffusion: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8, 3), 90, np.uint8))
    run(["restore", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--model", str(diffusion), "--device", "cpu",
         "--sweep", "steps=1:5:3"])  # fmt: skip
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert written == sorted(
        ["a_steps.png", *(f"a_steps={n}.png" for n in (1, 3, 5))]
    )  # the first is all in one picture


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "step=2"], "SmallSampler has no control 'step'; did you mean steps?"),
        (["--set", "steps=0"], "steps: expected a whole number from 1 up to 1000, got '0'"),
        (["--set", "steps"], "expected name=value"),
        (["--sweep", "steps=1:5"], "expected name=from:to:count"),
    ],
)
def test_a_control_that_does_not_fit_writes_nothing(
    diffusion: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(SystemExit) as stopped:
        main(["restore", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--model", str(diffusion), *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_controls_are_shown(diffusion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["restore", str(tmp_path), "-o", str(tmp_path), "--model", str(diffusion), "--controls", "--json"])
    shown = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert shown["steps"]["default"] == 3
    assert {"steps", "seed", "ensemble"} <= set(shown)


def test_the_prompt_of_the_user_counts(tmp_path: Path) -> None:
    weights = trained("prompt", tmp_path)
    restorer = Restorer.from_pretrained(weights, device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="needs `prompt`; set it"):
        restorer(image)
    restored = [restorer(image, prompt=words) for words in ("remove the noise", "sharpen the image")]
    assert (restored[0] != restored[1]).any()


def test_a_method_that_lacks_a_stream_and_one_that_reads_none_are_refused() -> None:
    for force, message in (
        (["datasets:train_unpaired=~"], "datasets.train_unpaired is missing; UnpairedModel learns from it"),
        (["model_type=SRModel", "network_d=~", "train:optim_d=~", "train:critic_opt=~", "train:fool_opt=~"],
         "datasets.train_unpaired: SRModel reads only train; remove it"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=message):
            load_options(HERE / "unpaired.yml", is_train=True, force=force, root=PROJECT)


def test_a_stream_beside_is_read_with_a_seed_of_its_own() -> None:
    from uir.data.building import training_stream

    stream = training_stream(load_options(HERE / "unpaired.yml", is_train=True, root=PROJECT))
    batch = stream.next()
    assert batch["lq"].shape[0] == 2
    assert batch["unpaired"]["lq"].shape[0] == 3
    assert stream.sampler.seed != stream.beside["unpaired"].sampler.seed


@pytest.mark.thorough
def test_a_run_stops_and_goes_on_in_the_middle_of_both_streams(tmp_path: Path) -> None:
    force = [f"path:experiments_root={tmp_path / 'run'}", "train:total_iter=3", "val=~"]
    folder = train(load_options(HERE / "unpaired.yml", is_train=True, force=force, root=PROJECT))
    stream = read_file(folder / "training_states" / "3.state")["uir"]["stream"]
    assert (stream["epoch"], stream["batch"]) == (1, 1)
    assert (stream["beside"]["unpaired"]["epoch"], stream["beside"]["unpaired"]["batch"]) == (1, 1)


def test_a_metric_of_a_set_is_that_of_all_images_together() -> None:
    load_plugin(str(HERE / "frechet.py"), named_in="test")
    metric: Any = build_metric({"type": "SmallFrechet", "channels": 2})
    generator = torch.Generator().manual_seed(0)
    pairs = [(torch.rand(1, 3, 32, 32, generator=generator), torch.rand(1, 3, 32, 32, generator=generator))
             for _ in range(3)]  # fmt: skip
    parts = [metric.contribution(*pair) for pair in pairs]
    whole = metric.contribution(*(torch.cat(images) for images in zip(*pairs, strict=True)))
    assert metric.result(parts) == pytest.approx(metric.result([whole]), abs=1e-9)
    same = [metric.contribution(pair[0], pair[0]) for pair in pairs]
    assert metric.result(same) == pytest.approx(0, abs=1e-6)
    assert metric.better == "lower"


def test_the_frechet_distance_of_two_bells_has_a_closed_form() -> None:
    """Means 1 apart and covariances s·I and t·I in two dimensions: 1 + 2·(√s − √t)²."""
    load_plugin(str(HERE / "frechet.py"), named_in="test")
    frechet = sys.modules[build_metric({"type": "SmallFrechet"})._metric.__class__.__module__].SmallFrechet(2)  # type: ignore[union-attr]
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    rows = [(corners * 2, corners + torch.tensor([1.0, 0]))]
    s, t = 16 / 3, 4 / 3
    assert frechet.compute(rows) == pytest.approx(1 + 2 * (s**0.5 - t**0.5) ** 2)


@pytest.mark.thorough
def test_an_observer_of_a_user_writes_its_file(tmp_path: Path) -> None:
    force = [f"path:experiments_root={tmp_path / 'run'}", "train:total_iter=3"]
    folder = train(load_options(HERE / "frechet.yml", is_train=True, force=force, root=PROJECT))
    spreads = json.loads((folder / "visualization" / "spread_3.json").read_text())
    assert spreads
    assert all(value > 0 for value in spreads.values())
