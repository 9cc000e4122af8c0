"""Turning a degradation by hand from the command line, and the picture of a sweep."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from dasr_options import degrading
from typer.testing import CliRunner

from uir.cli.main import app
from uir.config.options import load_options
from uir.core.checkpoint import CheckpointError, read_weights
from uir.core.images import read_image
from uir.data.building import training_stream
from uir.inference.collapsing import collapse
from uir.inference.image_files import restore_files
from uir.inference.restorer import Restorer
from uir.models.building import build_model

PLAIN = {"type": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 1}


@pytest.fixture
def model(write_options, pair_folders, tmp_path) -> Path:
    """Saved networks whose experts and mapping are far from equal."""
    torch.manual_seed(0)
    built = build_model(load_options(write_options(degrading(pair_folders))), torch.device("cpu"))
    with torch.no_grad():
        built.bare["p"].MappingNet[1].weight.mul_(20)
        for parameter in built.bare["g"].parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    built.ema.clear()
    (tmp_path / "m").mkdir()
    built.save(tmp_path / "m", 1)
    return tmp_path / "m" / "net_g_1.pth"


def photo(folder: Path, name: str = "a.png", channels: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    pixels = np.random.RandomState(0).randint(0, 255, (20, 32, channels), np.uint8)
    cv2.imwrite(str(folder / name), pixels)
    return folder / name


def cli(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["restore", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.thorough
def test_set_and_strength_change_the_picture(model, tmp_path):
    source, pictures = photo(tmp_path / "in"), {}
    for name, arguments in {
        "own": (),
        "set": ("--set", "noise=0.6", "--set", "blur_sigma=2.0"),
        "clean": ("--strength", "0"),
        "worst": ("--strength", "1"),
    }.items():
        cli(source, "-o", tmp_path / f"{name}.png", "--model", model, *arguments)
        pictures[name] = cv2.imread(str(tmp_path / f"{name}.png"))
        assert pictures[name].shape == (80, 128, 3)
    assert len({picture.tobytes() for picture in pictures.values()}) == 4


def test_the_controls_are_listed_with_the_units_of_the_record(model):
    text = cli("--controls", "--model", model)
    assert "blur_sigma: a number from 0 up to 3. Restore as if the image had a blur of this σ in pixels." in text
    assert "strength: a number from 0 up to 1." in text


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sweep_writes_each_value_and_a_labelled_grid(model, tmp_path, channels):
    source = photo(tmp_path / "in", channels=channels)
    outcome = restore_files(
        Restorer.from_pretrained(model, device="cpu"), source, tmp_path / "out", sweep="blur_sigma=0.2:3:5"
    )
    names = ["0.2", "0.9", "1.6", "2.3", "3"]
    assert [f.name for f in outcome.written] == [*(f"a_blur_sigma={n}.png" for n in names), "a_blur_sigma.png"]
    grid = cv2.imread(str(tmp_path / "out" / "a_blur_sigma.png"))
    assert grid.shape[1] > 6 * 320
    titles, pictures = grid[6:36, 60:], grid[46:200, -330:-10]
    assert (titles < 100).any()  # dark text on white
    last = cv2.imread(str(tmp_path / "out" / "a_blur_sigma=3.png"))
    assert abs(pictures.mean() - last.mean()) < 12


def test_a_knob_out_of_range_is_refused_before_anything_is_written(model, tmp_path):
    source = photo(tmp_path / "in")
    arguments = ["restore", str(source), "-o", str(tmp_path / "o"), "--model", str(model), "--set", "blur_sigma=9"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code != 0
    assert "blur_sigma: expected a number from 0 up to 3" in str(result.exception or result.output)
    assert not (tmp_path / "o").exists()


def test_a_model_collapses_into_a_plain_network_with_its_card(model, tmp_path):
    source, plain = photo(tmp_path / "in"), tmp_path / "plain.pth"
    collapsed = collapse(model, source, plain, {"blur_sigma": "2.0"})
    assert collapsed.type == "MSRResNet"
    assert collapsed.difference < 1e-5
    card = read_weights(plain)[1]
    assert card["arch"]["type"] == "MSRResNet"
    assert card["collapsed"]["controls"] == {"blur_sigma": "2.0"}
    assert len(card["collapsed"]["params"]) == 33
    pixels = read_image(source)
    mixing, alone = (Restorer.from_pretrained(file, device="cpu", tile=None) for file in (model, plain))
    assert mixing(pixels, blur_sigma=2.0).tobytes() == alone(pixels).tobytes()
    assert mixing(pixels).tobytes() != alone(pixels).tobytes()


def test_only_a_model_of_experts_collapses(model, tmp_path):
    plain = tmp_path / "plain.pth"
    text = (
        CliRunner()
        .invoke(app, ["export", "-o", str(plain), "--model", str(model), "--collapse", str(photo(tmp_path / "in"))])
        .output
    )
    assert "MSRResNet with 1,851 parameters" in text
    with pytest.raises(CheckpointError, match="there is nothing to collapse"):
        collapse(plain, tmp_path / "in" / "a.png", tmp_path / "again.pth")
    with pytest.raises(ValueError, match=r"expected a name that ends in \.pth, \.onnx"):
        collapse(model, tmp_path / "in" / "a.png", tmp_path / "plain.bin")


def test_a_strength_is_learned_from_severities_set_and_collapsed(write_options, pair_folders, tmp_path):
    clean = {"type": "DegradedImageDataset", "dataroot_gt": str(pair_folders / "gt"), "gt_size": 32}
    options = {
        "model_type": "StrengthModel", "scale": 1, "network_g": {"type": "GainNet", "levels": 3, "backbone": PLAIN},
        "datasets": {"train": {**clean, "degradation": {"type": "GaussianNoise", "sigma": [5, 50]},
                               "batch_size_per_gpu": 2}, "val": None},
    }  # fmt: skip
    loaded = load_options(write_options(options))
    torch.manual_seed(0)
    built, stream = build_model(loaded, torch.device("cpu")), training_stream(loaded)
    built.feed_data(stream.next())
    sigmas = [record.steps[0]["sigma_255"] for record in built.batch["degradation"]]
    strength = built.value("strength")
    assert strength.shape == (2,)
    assert (strength[0] > strength[1]).item() == (sigmas[0] > sigmas[1])
    before = built.bare["g"].log_gain.clone()
    built.optimize_parameters(1)
    assert not torch.equal(built.bare["g"].log_gain, before)
    with torch.no_grad():
        built.bare["g"].log_gain.add_(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    built.ema.clear()
    (tmp_path / "m").mkdir()
    built.save(tmp_path / "m", 1)
    source, model, plain = photo(tmp_path / "in"), tmp_path / "m" / "net_g_1.pth", tmp_path / "plain.pth"
    collapse(model, source, plain, {"strength": 0.3})
    pixels = read_image(source)
    gains, alone = (Restorer.from_pretrained(file, device="cpu", tile=None) for file in (model, plain))
    assert gains(pixels, strength=0.3).tobytes() == alone(pixels).tobytes()
    assert gains(pixels, strength=0.9).tobytes() != alone(pixels).tobytes()
    cli(source, "-o", tmp_path / "by_hand.png", "--model", model, "--strength", "0.3")
    cli(source, "-o", tmp_path / "plain.png", "--model", plain)
    by_hand, expected = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("by_hand", "plain"))
    np.testing.assert_array_equal(by_hand, expected)
    cli(source, "-o", tmp_path / "out", "--model", model, "--sweep", "strength=0:1:3")
    names = {f"a_strength{value}.png" for value in ("", "=0", "=0.5", "=1")}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names
