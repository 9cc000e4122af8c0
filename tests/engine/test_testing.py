"""Testing: known figures of known images, the table and its files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from rich.console import Console

from uir.config.options import load_options
from uir.core.images import list_images, read_image, write_image
from uir.data.building import evaluation_loaders
from uir.engine.evaluation import Evaluation
from uir.engine.testing import results_table
from uir.engine.testing import test as run_test
from uir.layers.resize import imresize

Write = Callable[..., Path]


def test_file(
    folder: Path, datasets: dict[str, Any], network: dict[str, Any], metrics: dict[str, Any], scale: int = 1
) -> Path:
    (folder / "options").mkdir(exist_ok=True)
    options = {
        "name": "figures", "model_type": "SRModel", "scale": scale, "num_gpu": 0, "datasets": datasets,
        "network_g": network,
        "val": {"metrics": metrics, "measure_input": True},
    }  # fmt: skip
    file = folder / "options" / "test.yml"
    file.write_text(yaml.safe_dump(options))
    return file


test_file.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "expected"), [("Rain100L", 25.52), ("LOL_eval15", 7.77), ("GoPro_subset", 22.49)])
def test_an_identity_network_gives_the_known_figures(shared: Path, tmp_path: Path, name: str, expected: float) -> None:
    roots = {f"dataroot_{kind}": str(shared / "data" / "test" / name / kind) for kind in ("lq", "gt")}
    data = {"test": {"type": "PairedImageDataset", **roots, "name": name}}
    metrics = {"psnr": {"type": "calculate_psnr", "crop_border": 0}}
    found = run_test(load_options(test_file(tmp_path, data, {"type": "Identity"}, metrics), is_train=False), quiet=True)
    assert found[0].results["psnr"] == pytest.approx(expected, abs=0.005)
    assert found[0].inputs["psnr"] == pytest.approx(found[0].results["psnr"])


@pytest.mark.thorough
def test_matlab_bicubic_times_four_on_set5(shared: Path, tmp_path: Path) -> None:
    for path in list_images(shared / "data" / "test" / "Set5"):
        image = read_image(path)
        height, width = (size // 4 * 4 for size in image.shape[:2])
        gt = torch.from_numpy(image[:height, :width].astype(np.float32) / 255).permute(2, 0, 1)
        write_image(tmp_path / "gt" / f"{path.stem}.png", gt)
        write_image(tmp_path / "lq" / f"{path.stem}.png", imresize(gt, 0.25))
    data = {
        "test": {"type": "PairedImageDataset", "dataroot_lq": str(tmp_path / "lq"), "dataroot_gt": str(tmp_path / "gt")}
    }
    metrics = {"psnr": {"type": "calculate_psnr", "crop_border": 4, "test_y_channel": True}}
    file = test_file(tmp_path, data, {"type": "Bicubic", "scale": 4}, metrics, scale=4)
    assert run_test(load_options(file, is_train=False), quiet=True)[0].results["psnr"] == pytest.approx(28.42, abs=0.02)


def same_twice(pairs: Path) -> dict[str, Any]:
    """A test set whose degraded images are the clean ones."""
    return {"type": "PairedImageDataset", "dataroot_lq": str(pairs / "gt"), "dataroot_gt": str(pairs / "gt")}


def test_results_are_written_as_json_and_as_a_table_that_names_the_metric(pair_folders: Path, tmp_path: Path) -> None:
    data = {"test": same_twice(pair_folders)}
    metrics = {"ssim": {"type": "SSIM", "crop_border": 2, "color_space": "y"}}
    run_test(load_options(test_file(tmp_path, data, {"type": "Identity"}, metrics), is_train=False), quiet=True)
    content = json.loads((tmp_path / "results" / "figures" / "metrics.json").read_text())
    assert content["datasets"][0]["results"]["ssim"] == pytest.approx(1.0)
    assert len(content["datasets"][0]["per_image"]) == 6
    assert "SSIM (Y, border 2" in (tmp_path / "results" / "figures" / "metrics.md").read_text()


def test_sets_of_the_same_name_are_both_measured(
    pair_folders: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = {key: {**same_twice(pair_folders), "name": "Set"} for key in ("test_1", "test_2")}
    file = test_file(tmp_path, data, {"type": "Identity"}, {"ssim": {"type": "SSIM"}})
    loaders = evaluation_loaders(load_options(file, is_train=False))
    assert [(name, len(loader)) for name, loader in loaders.items()] == [("Set", 6), ("Set_test_2", 6)]
    assert "datasets.test_2: another set is called Set, too; this one is Set_test_2" in caplog.text


def test_restored_pictures_are_written_under_basicsr_s_names(pair_folders: Path, tmp_path: Path) -> None:
    data = {"test_1": {**same_twice(pair_folders), "name": "Set"}}
    file = test_file(tmp_path, data, {"type": "Identity"}, {})
    run_test(load_options(file, is_train=False, force=["val:save_img=true"]), quiet=True)
    written = tmp_path / "results" / "figures" / "visualization" / "Set" / "0_figures.png"
    assert np.array_equal(cv2.imread(str(written)), cv2.imread(str(pair_folders / "gt" / "0.png")))


def test_a_file_without_a_test_set_is_an_error(write_options: Write) -> None:
    with pytest.raises(ValueError, match="there is no test set"):
        run_test(load_options(write_options({"datasets.val": None}), is_train=False), quiet=True)


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_table_cuts_no_name_and_no_number(width: int) -> None:
    names = [f"rain_of_a_very_long_name_that_ends_in_{end}" for end in ("light", "heavy")]
    sets = [Evaluation(name, 3, {f"m{i}": 11.25 for i in range(9)}) for name in names]
    screen = Console(width=width, file=io.StringIO())
    screen.print(results_table(sets, {}), crop=False)
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    assert text.count("11.25") == 27
    first_column = "".join(line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│"))
    assert first_column == f"{names[0]}{names[1]}mean"
