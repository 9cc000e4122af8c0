"""Networks of one channel: trained, tested and used on grey files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from arch_configs import NAFNET, RESTORMER
from torch import Tensor, nn

from uir.config.options import load_options
from uir.core.checkpoint import published_state, read_file, write_checkpoint
from uir.core.images import read_image
from uir.engine.testing import results_table
from uir.engine.testing import test as run_test
from uir.engine.train_loop import train
from uir.inference.image_files import restore_files
from uir.inference.restorer import Restorer
from uir.layers.image_channels import check_channels, image_channels
from uir.models.building import build_model
from uir.registry.components import build

Write = Callable[..., Path]
SWINIR = {"embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 4, "mlp_ratio": 2, "upscale": 1}
GREY: dict[str, dict[str, Any]] = {
    "NAFNet": {**NAFNET, "img_channel": 1},
    "Restormer": {**RESTORMER, "inp_channels": 1, "out_channels": 1, "LayerNorm_type": "BiasFree"},
    "SwinIR": {**SWINIR, "in_chans": 1, "img_size": 16},
}


def grey_network(name: str = "NAFNet") -> nn.Module:
    """Of one channel, with weights that change what it is given."""
    torch.manual_seed(0)
    network = build("archs", {"type": name, **GREY[name]}).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return network


def photograph(channels: int, side: int = 24) -> np.ndarray:
    shape = (side, side + 5, channels)
    return np.random.default_rng(0).integers(40, 216, shape).astype(np.uint8)


def expected_of(network: nn.Module, channel: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        restored = network(torch.from_numpy(channel.astype(np.float32) / 255)[None, None])
    return np.asarray((restored[0, 0].clamp(0, 1) * 255).round()).astype(np.uint8)


@pytest.fixture
def grey_pairs(pair_folders: Path, tmp_path: Path) -> Path:
    """Grey files: `gt`, and `lq` of the same size."""
    for file in sorted((pair_folders / "gt").iterdir()):
        grey = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        for name, image in (("gt", grey), ("lq", cv2.GaussianBlur(grey, (3, 3), 1))):
            (tmp_path / "grey" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "grey" / name / file.name), image)
    return tmp_path / "grey"


def options_for(name: str, pairs: Path, color: str | None = "grey") -> dict[str, Any]:
    roots = {"dataroot_gt": str(pairs / "gt"), "dataroot_lq": str(pairs / "lq"), "color": color}
    train_set = {"type": "PairedImageDataset", **roots, "gt_size": 16, "batch_size_per_gpu": 2}
    return {
        "scale": 1,
        "network_g": {"type": name, **GREY[name]},
        "datasets": {"train": train_set, "val": {"type": "PairedImageDataset", **roots}},
        "train.total_iter": 2,
        "logger.save_checkpoint_freq": 2,
        "val": {
            "val_freq": 2,
            "save_img": True,
            "measure_input": True,
            "metrics": {"psnr": {"type": "PSNR", "color_space": "y"}, "ssim": {"type": "SSIM"}},
        },
    }


@pytest.mark.thorough
@pytest.mark.parametrize("name", GREY)
def test_trains_tests_and_restores_grey_files(name: str, write_options: Write, grey_pairs: Path) -> None:
    file = write_options(options_for(name, grey_pairs))
    run = train(load_options(file))
    pictures = list((run / "visualization").rglob("*.png"))
    assert pictures
    assert all(read_image(picture).shape[2] == 1 for picture in pictures)
    restorer = Restorer.from_pretrained(run / "models" / "net_g_2.pth")
    (written,) = restore_files(restorer, [grey_pairs / "lq" / "0.png"], run / "restored").written
    assert read_image(written).shape == read_image(grey_pairs / "gt" / "0.png").shape


@pytest.mark.thorough
@pytest.mark.parametrize(("color", "heading"), [("grey", "grey, full range"), ("y", "Y, studio range")])
def test_a_table_says_what_the_channel_is(
    color: str, heading: str, write_options: Write, grey_pairs: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "net_g.pth"
    write_checkpoint(weights, {"params": published_state(grey_network())}, {})
    options = options_for("NAFNet", grey_pairs, color)
    test_set = {"test": {**options["datasets"]["val"], "name": "Set"}}
    file = write_options({**options, "datasets": test_set, "path": {"pretrain_network_g": str(weights)}})
    (result,) = run_test(load_options(file, is_train=False), quiet=True)
    assert result.channel == heading
    written = next((file.parents[1] / "results").rglob("metrics.md")).read_text()
    assert f"- psnr: PSNR ({heading}, border 0, uint8)" in written
    assert f"- ssim: SSIM ({heading}, border 0, uint8)" in written
    gt, lq = (read_image(grey_pairs / side / "0.png").astype(np.float64) for side in ("gt", "lq"))
    if color == "y":
        gt, lq = (np.round(16 + 219 / 255 * side) for side in (gt, lq))
    expected = 10 * np.log10(255**2 / np.square(gt - lq).mean())
    assert result.per_image[0]["input"]["psnr"] == pytest.approx(expected, abs=1e-6)


def test_a_table_of_colour_says_what_it_said() -> None:
    from uir.engine.evaluation import Evaluation
    from uir.metrics.building import build_metric

    metrics = {"psnr": build_metric({"type": "PSNR", "color_space": "y"})}
    colour, grey = Evaluation("a", 1, {"psnr": 30.0}), Evaluation("b", 1, {"psnr": 30.0}, channel="grey, full range")
    headings = [results_table(sets, metrics).columns[2].header for sets in ([colour], [colour, grey])]
    assert headings == [
        "restored\nPSNR (Y, border 0, uint8)", "restored\nPSNR (colour or grey, full range, border 0, uint8)",
    ]  # fmt: skip


@pytest.mark.parametrize("name", GREY)
@pytest.mark.parametrize("tile", [None, 16])
def test_a_grey_photograph_stays_grey(name: str, tile: int | None) -> None:
    network, image = grey_network(name), photograph(1)
    restorer = Restorer(network, tile=tile)
    restored = restorer(image)
    assert restored.shape == image.shape
    assert np.array_equal(restorer(image[:, :, 0]), restored[:, :, 0])
    if tile is None:
        assert np.array_equal(restored[:, :, 0], expected_of(network, image[:, :, 0]))
    assert not np.array_equal(restored, image)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_colour_photograph_is_restored_channel_by_channel(channels: int) -> None:
    network, image = grey_network(), photograph(channels)
    restored = Restorer(network)(image)
    assert restored.shape == image.shape
    for channel in range(3):
        assert np.array_equal(restored[:, :, channel], expected_of(network, image[:, :, channel]))
    if channels == 4:
        assert np.array_equal(restored[:, :, 3], image[:, :, 3])


def test_a_batch_of_one_channel_is_restored_as_such() -> None:
    network, lq = grey_network(), torch.rand(2, 1, 16, 20)
    with torch.no_grad():
        torch.testing.assert_close(Restorer(network).restore_tensor(lq), network(lq).clamp(0, 1))


@pytest.mark.parametrize(
    ("channels", "color", "said"),
    [
        (1, None, "NAFNet takes images of one channel, and the dataset gives colour; give the dataset `color: grey`"),
        (3, "grey", "NAFNet takes colour images, and the dataset gives one channel; leave out the dataset's `color`"),
    ],
)
def test_images_of_other_channels_are_refused(
    channels: int, color: str | None, said: str, write_options: Write, grey_pairs: Path
) -> None:
    options = options_for("NAFNet", grey_pairs, color)
    options["network_g"] = {"type": "NAFNet", **NAFNET, "img_channel": channels}
    model: Any = build_model(load_options(write_options(options)), torch.device("cpu"))
    images = torch.rand(1, 1 if color else 3, 16, 16)
    with pytest.raises(ValueError, match=said):
        model.feed_data({"lq": images, "gt": images})
    with pytest.raises(ValueError, match=said):
        model.predict({"lq": images, "gt": images})


def test_a_network_may_say_itself_how_many_channels_it_takes() -> None:
    class Planes(nn.Module):
        """Filters every channel by the same kernel, so its convolution does not show how many there are."""

        in_channels = 3

        def __init__(self) -> None:
            super().__init__()
            self.filter = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, lq: Tensor) -> Tensor:
            return self.filter(lq.flatten(0, 1)[:, None])[:, 0].unflatten(0, lq.shape[:2])

    assert image_channels(Planes()) == 3
    check_channels(Planes(), torch.rand(1, 3, 4, 4))
    assert image_channels(nn.Identity()) is None
    assert Restorer(Planes())(photograph(3)).shape == photograph(3).shape


def test_published_grey_weights_go_through_a_file(tmp_path: Path) -> None:
    network = grey_network("SwinIR")
    write_checkpoint(
        tmp_path / "net_g.pth", {"params": published_state(network)}, {"arch": {"type": "SwinIR", **GREY["SwinIR"]}}
    )
    assert read_file(tmp_path / "net_g.pth")["params"]["conv_first.weight"].shape[1] == 1
    image = photograph(1)
    restored = Restorer.from_pretrained(tmp_path / "net_g.pth", device="cpu")(image)
    assert np.array_equal(restored[:, :, 0], expected_of(network, image[:, :, 0]))
