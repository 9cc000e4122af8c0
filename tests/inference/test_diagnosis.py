"""Diagnosing: what the classifier that comes with a restorer says of photographs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_release import LABELS, small_release
from torch import Tensor, nn

from uir import Restorer
from uir.cli import main
from uir.core.images import read_image, write_image
from uir.inference.diagnosis import Diagnoser, Diagnosis, summarised
from uir.inference.image_files import restore_files
from uir.layers.features import FeaturePoint

ROOT = Path(__file__).resolve().parents[2]


class Plain(nn.Module):
    """A restorer whose one feature is the image."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Identity()

    def forward(self, lq: Tensor) -> Tensor:
        return self.same(lq)

    def feature_points(self) -> list[FeaturePoint]:
        return [FeaturePoint("same", 3, 1)]


class MeanColour(nn.Module):
    """The mean red, green and blue, times 10, as logits."""

    def forward(self, lq: Tensor, features: list[Tensor]) -> Tensor:
        return 10 * features[0].mean((2, 3))


def diagnoser(**settings: Any) -> Diagnoser:
    return Diagnoser(Plain(), MeanColour(), ["red", "green", "blue"], **settings)


def colour(red: int, green: int, blue: int, height: int = 9, width: int = 12) -> np.ndarray:
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (height, width, 3)).copy()


def test_the_probabilities_are_the_softmax_of_the_logits_over_the_temperature() -> None:
    logits = torch.tensor([10 * 51 / 255, 10 * 102 / 255, 0])
    for temperature in (1.0, 4.0):
        diagnosis = diagnoser(temperature=temperature)(colour(51, 102, 0))
        assert list(diagnosis.probabilities) == ["green", "red", "blue"]
        expected = (logits / temperature).softmax(0)[[1, 0, 2]].tolist()
        assert list(diagnosis.probabilities.values()) == pytest.approx(expected, abs=1e-6)


def test_classes_that_can_be_true_together_have_probabilities_of_their_own() -> None:
    diagnosis = diagnoser(several=True)(colour(255, 255, 0))
    assert diagnosis.probabilities["red"] == diagnosis.probabilities["green"] > 0.99
    assert diagnosis.probabilities["blue"] == 0.5


def test_of_a_large_image_four_squares_count() -> None:
    image = colour(0, 0, 0, 1600, 1600)
    image[544:1056, 544:1056, 2] = 255  # the middle; each square of 512 around the centre sees a quarter of it
    mean = diagnoser()(image).probabilities
    assert mean["blue"] == pytest.approx(float((torch.tensor([0, 0, 2.5]) * 1).softmax(0)[2]), abs=0.1)
    assert diagnoser()(colour(9, 200, 9, 700, 20)).label == "green"


def test_a_released_file_restores_and_diagnoses(tmp_path: Path, photographs: list[Path]) -> None:
    file = small_release(tmp_path / "it.safetensors", temperature=2.0)
    restorer = Restorer.from_pretrained(file)
    diagnosis = restorer.diagnose(photographs[0])
    assert set(diagnosis.probabilities) == set(LABELS)
    assert sum(diagnosis.probabilities.values()) == pytest.approx(1)
    assert restorer.diagnoser is not None
    assert restorer.diagnoser.temperature == 2.0


def test_the_trained_files_of_a_run_diagnose(write_options: Any, pair_folders: Path) -> None:
    from dcpt_options import LABELS as CLASSES
    from dcpt_options import changes, model_of

    model = model_of(write_options(changes(pair_folders, "DCTModel")))
    folder = pair_folders.parent / "models"
    model.save(folder, 5)
    image = read_image(pair_folders / "lq" / "0.png")
    diagnosis = Restorer.from_pretrained(folder).diagnose(image)
    lq = torch.from_numpy(image / 255).float().permute(2, 0, 1)[None]
    expected = model.classify(lq).softmax(1)[0].sort(descending=True).values
    assert set(diagnosis.probabilities) == set(CLASSES)
    assert list(diagnosis.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_network_without_a_classifier_says_so() -> None:
    with pytest.raises(ValueError, match="Plain: comes with no classifier of degradations; methods such as DCTModel"):
        Restorer(Plain()).diagnose(colour(1, 2, 3))


def test_a_folder_gives_a_row_for_each_image_and_a_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = small_release(tmp_path / "it.safetensors")
    for index in range(3):
        write_image(tmp_path / "in" / f"{index}.png", colour(40 * index, 90, 20))
    (tmp_path / "in" / "bad.jpg").write_bytes(b"nonsense")
    command = ["diagnose", str(tmp_path / "in"), "--model", str(file)]
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 1
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["file", "degradation", "sure", "or"]
    assert [row.split()[0].rpartition("/")[2] for row in rows[:3]] == ["0.png", "1.png", "2.png"]
    assert rows[3].startswith("3 images: ")
    assert rows[4] == "1 image failed:"
    (tmp_path / "in" / "bad.jpg").unlink()
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--json"])
    assert stopped.value.code == 0
    report = json.loads(capsys.readouterr().out)
    assert sum(report["summary"].values()) == 3
    assert {row["label"] for row in report["images"]} == set(report["summary"])


def test_restoring_says_the_degradation_too(tmp_path: Path) -> None:
    restorer = Restorer.from_pretrained(small_release(tmp_path / "it.safetensors"))
    write_image(tmp_path / "a.png", colour(9, 90, 20))
    outcome = restore_files(restorer, tmp_path / "a.png", tmp_path / "out")
    diagnosis = restorer.diagnose(tmp_path / "a.png")
    assert f"degradation: {diagnosis}" in outcome.summary(tmp_path / "out").splitlines()
    assert outcome.as_dict()["restored"][0]["diagnosis"]["label"] == diagnosis.label


def test_the_summary_counts_the_labels() -> None:
    one, other = Diagnosis({"rain": 0.9, "haze": 0.1}), Diagnosis({"haze": 0.6, "rain": 0.4})
    assert summarised({"a": one, "b": other, "c": one}) == {"rain": 2, "haze": 1}


@pytest.mark.slow
def test_an_installed_wheel_restores_and_diagnoses_without_a_model(tmp_path: Path) -> None:
    """From a folder of its own, without a network connection."""
    import shutil

    shutil.copytree(ROOT / "uir", tmp_path / "src" / "uir", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / "src")
    build = ["wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", str(tmp_path), str(tmp_path / "src")]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    write_image(tmp_path / "photo.jpg", colour(9, 90, 20))
    for words in (["restore", "photo.jpg", "-o", "out.png"], ["diagnose", "photo.jpg"], ["list", "weights"]):
        done = subprocess.run(
            [sys.executable, "-c", "import uir; print(uir.__file__); from uir.cli import main; main()", *words],
            cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": "", "HF_HUB_OFFLINE": "1"},
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(str(tmp_path / "installed"))
    assert "uir-small" in done.stdout
    assert read_image(tmp_path / "out.png").shape == (9, 12, 3)
