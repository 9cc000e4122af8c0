"""The data sets of DCPT that make their own input, and hazy images that share a clean one."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from uir.core.images import write_image
from uir.data.dcpt_input_dataset import PairedImageDenoiseDataset, drawn_numbers
from uir.data.dehaze_dataset import PairedImageDehazeDataset
from uir.data.txtlist_dataset import PairedImageTxtlistDataset
from uir.degradations.base import replay
from uir.registry.components import build

MADE = ["PairedImageDenoiseDataset", "PairedImageJPEGCARDataset", "PairedImageMosaicDataset",
        "PairedImageInpaintingDataset", "PairedImageGaussianBlurDataset"]  # fmt: skip


@pytest.fixture
def clean(tmp_path):
    """A folder of three photographs of 40 x 36 pixels."""
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 256, (40, 36, 3)).astype(np.uint8)
        write_image(tmp_path / f"{number}.png", image)
    return str(tmp_path)


@pytest.mark.parametrize("phase", ["train", "val"])
@pytest.mark.parametrize("name", MADE)
def test_the_input_is_made_and_recorded(clean, name, phase):
    dataset = build("datasets", {"type": name, "dataroot_gt": clean, "gt_size": 32, "label": "x"}, {"phase": phase})
    item, again = dataset.sample(1, seed=3), dataset.sample(1, seed=3)
    side = (32, 32) if phase == "train" else (40, 36)
    assert item["lq"].shape == item["gt"].shape == (3, *side)
    assert not torch.equal(item["lq"], item["gt"])
    assert torch.equal(item["lq"], again["lq"])
    assert torch.equal(replay(item["degradation"], item["gt"]), item["lq"])
    assert item["degradation"].label == "x"


@pytest.mark.parametrize(
    ("arguments", "drawn"),
    [
        ({}, {15, 25, 50}),
        ({"sigma_type": "choice", "sigma_range": [10, 30]}, {10, 30}),
        ({"sigma_type": "constant", "sigma_range": 40}, {40}),
        ({"sigma_type": "constant", "sigma_range": [40]}, {40}),
    ],
)
def test_sigma_is_drawn_as_its_type_says(clean, arguments, drawn):
    dataset = PairedImageDenoiseDataset(clean, **arguments)
    got = {dataset.sample(0, seed)["degradation"].steps[0]["sigma_255"] for seed in range(20)}
    assert got == drawn


def test_random_sigma_fills_its_range(clean):
    dataset = PairedImageDenoiseDataset(clean, sigma_type="random", sigma_range=[1, 50])
    got = [dataset.sample(0, seed)["degradation"].steps[0]["sigma_255"] for seed in range(30)]
    assert min(got) >= 1
    assert max(got) <= 50
    assert len(set(got)) == 30


@pytest.mark.parametrize("phase", ["train", "val", "test"])
@pytest.mark.parametrize("sigma", [15, 60])
def test_noise_is_as_strong_as_the_file_says_in_every_phase(clean, phase, sigma):
    dataset = PairedImageDenoiseDataset(clean, sigma_type="constant", sigma_range=sigma, phase=phase)
    assert {dataset[index]["degradation"].steps[0]["sigma_255"] for index in range(3)} == {sigma}


def test_restormer_s_sigma_test_counts_outside_training(clean):
    drawn = {"sigma_type": "constant", "sigma_range": 5, "sigma_test": 60}
    got = {phase: PairedImageDenoiseDataset(clean, phase=phase, **drawn)[0] for phase in ("train", "val", "test")}
    assert [item["degradation"].steps[0]["sigma_255"] for item in got.values()] == [5, 60, 60]


@pytest.mark.parametrize(("phase", "unused"), [("train", "sigma_test 60"), ("test", "sigma_range 5")])
def test_a_sigma_that_is_not_used_is_said(clean, caplog, phase, unused):
    with caplog.at_level(logging.WARNING, logger="uir"):
        PairedImageDenoiseDataset(clean, "constant", 5, sigma_test=60, phase=phase)
    assert f"{unused} of the phase {phase} is not used" in caplog.text


@pytest.mark.parametrize("clip", [False, True])
def test_noise_is_clipped_only_on_request(clean, clip):
    lq = PairedImageDenoiseDataset(clean, "constant", 60, clip=clip, phase="test")[0]["lq"]
    assert (float(lq.min()) >= 0, float(lq.max()) <= 1) == (clip, clip)


@pytest.mark.parametrize("phase", ["train", "val", "test"])
@pytest.mark.parametrize(
    ("arguments", "drawn"),
    [
        ({"q_type": "constant", "q_range": 50}, {50}),
        ({"q_type": "choice", "q_range": [10, 90]}, {10, 90}),
        ({"q_type": "random", "q_range": [10, 12]}, {10, 11, 12}),
        ({}, {10, 20, 30, 40, 50}),
    ],
)
def test_jpeg_quality_is_drawn_as_its_type_says_in_every_phase(clean, phase, arguments, drawn):
    spec = {"type": "PairedImageJPEGCARDataset", "dataroot_gt": clean, "phase": phase, **arguments}
    datasets = [build("datasets", {**spec, "seed": seed}) for seed in range(12)]
    steps = [
        dataset.sample(index, seed)["degradation"].steps[0]
        for seed, dataset in enumerate(datasets)
        for index in range(3)
    ]
    assert {step["quality"] for step in steps} == drawn


@pytest.mark.parametrize("phase", ["train", "test"])
@pytest.mark.parametrize(
    ("arguments", "ops"),
    [
        ({"kernel_list": ["iso"], "kernel_prob": [1], "sinc_prob": 0}, {"IsotropicGaussianBlur"}),
        ({"kernel_list": ["aniso"], "kernel_prob": [1], "sinc_prob": 0}, {"AnisotropicGaussianBlur"}),
        ({"kernel_list": ["generalized_iso", "plateau_aniso"], "kernel_prob": [1, 1], "sinc_prob": 0},
         {"GeneralizedGaussianBlur", "PlateauBlur"}),
        ({"kernel_list": ["iso"], "kernel_prob": [1], "sinc_prob": 1}, {"SincFilter"}),
    ],
)  # fmt: skip
def test_the_blur_has_the_kernels_of_its_list(clean, phase, arguments, ops):
    spec = {"type": "PairedImageGaussianBlurDataset", "dataroot_gt": clean, "phase": phase, **arguments}
    datasets = [build("datasets", {**spec, "seed": seed}) for seed in range(6)]
    steps = [dataset.sample(seed % 3, seed)["degradation"].steps[0] for seed, dataset in enumerate(datasets)]
    assert {step["op"] for step in steps} == ops


def test_the_blur_draws_sigma_and_shape_from_their_ranges(clean):
    ranges = {"blur_sigma": [1, 1.5], "betag_range": [2, 3], "kernel_list": ["generalized_aniso"], "kernel_prob": [1]}
    dataset = build(
        "datasets", {"type": "PairedImageGaussianBlurDataset", "dataroot_gt": clean, "sinc_prob": 0, **ranges}
    )
    for step in (dataset.sample(0, seed)["degradation"].steps[0] for seed in range(8)):
        assert 1 <= step["sigma_x_px"] <= 1.5
        assert step["sigma_x_px"] != step["sigma_y_px"]
        assert 2 <= step["beta"] <= 3
        assert step["kernel_size"] in range(7, 22, 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"kernel_list": ["box"], "kernel_prob": [1]}, r"kernel_list: got \['box'\]; expected some of iso"),
        ({"kernel_prob": [1]}, "kernel_prob: got .* expected 6, one for each kernel"),
        ({"sinc_prob": 2}, "sinc_prob: got 2; expected a number from 0 to 1"),
    ],
)
def test_mistakes_in_the_blur_are_named(clean, arguments, said):
    with pytest.raises(ValueError, match=said):
        build("datasets", {"type": "PairedImageGaussianBlurDataset", "dataroot_gt": clean, **arguments})


@pytest.mark.parametrize("legacy", [False, True])
def test_the_mosaic_keeps_its_colours_unless_it_is_to_be_as_published(tmp_path, legacy):
    write_image(tmp_path / "0.png", np.full((12, 12, 3), (200, 100, 50), np.uint8))
    spec = {"type": "PairedImageMosaicDataset", "dataroot_gt": str(tmp_path), "legacy": legacy, "phase": "test"}
    item = build("datasets", spec)[0]
    expected = torch.tensor([50, 100, 200] if legacy else [200, 100, 50]) / 255
    torch.testing.assert_close(item["lq"], expected[:, None, None].expand(3, 12, 12))
    assert torch.equal(replay(item["degradation"], item["gt"]), item["lq"])


def test_the_mosaic_is_rggb_after_opencv_s_edge_aware_filter(clean):
    dataset = build("datasets", {"type": "PairedImageMosaicDataset", "dataroot_gt": clean, "phase": "val"})
    assert dataset[0]["degradation"].steps[0].items() >= {"pattern": "rggb", "demosaic": "edge_aware"}.items()


@pytest.mark.parametrize("name", [name for name in MADE if name != "PairedImageMosaicDataset"])
def test_grey_images_are_one_channel(clean, name):
    item = build("datasets", {"type": name, "dataroot_gt": clean, "color": "grey"})[0]
    assert (len(item["lq"]), len(item["gt"])) == (1, 1)


def test_inpainting_draws_the_published_lines_and_always_the_same_in_evaluation(clean):
    spec = {"type": "PairedImageInpaintingDataset", "dataroot_gt": clean, "phase": "val"}
    first, second = build("datasets", spec), build("datasets", spec)
    for index in range(3):
        step = first[index]["degradation"].steps[0]
        assert 5 <= step["lines"] <= 10
        assert 5 <= step["width_px"] <= 10
        assert step["fill"] in (0, 1)
        assert torch.equal(first[index]["lq"], second[index]["lq"])


def test_a_dataroot_lq_that_is_not_read_is_mentioned(clean, caplog):
    with caplog.at_level(logging.WARNING, logger="uir"):
        PairedImageDenoiseDataset(clean, dataroot_lq=clean)
        PairedImageDenoiseDataset(clean, dataroot_lq="none")
        assert not caplog.records
        PairedImageDenoiseDataset(clean, dataroot_lq="elsewhere")
    assert "dataroot_lq elsewhere is not used" in caplog.text


def test_mistakes_in_the_noise_are_named(clean):
    with pytest.raises(ValueError, match="sigma_type: got 'gauss'; expected one of constant, random, choice"):
        drawn_numbers("sigma", "gauss", 25)
    with pytest.raises(ValueError, match=r"sigma_range: with sigma_type random expected \[low, high\], got 25"):
        drawn_numbers("sigma", "random", 25)
    with pytest.raises(ValueError, match="sigma_range: with sigma_type constant expected a number"):
        drawn_numbers("sigma", "constant", [1, 2])
    with pytest.raises(ValueError, match="quality_factor"):
        build("datasets", {"type": "PairedImageJPEGCARDataset", "dataroot_gt": clean, "quality_factor": 20})


@pytest.fixture
def haze(tmp_path):
    """Two clean photographs and three hazy ones."""
    clean = [np.full((12, 10, 3), value, np.uint8) for value in (50, 100)]
    for index, image in enumerate(clean):
        write_image(tmp_path / "gt" / f"000{index}.png", image)
        write_image(tmp_path / "lq" / f"000{index}_0.8_0.2.png", image + 50)
    write_image(tmp_path / "lq" / "0001_1_0.1.png", clean[1] + 80)
    return {"dataroot_gt": str(tmp_path / "gt"), "dataroot_lq": str(tmp_path / "lq")}


def test_hazy_images_share_a_clean_one(haze):
    dataset = PairedImageDehazeDataset(**haze, suffix=".png", gt_size=8, use_hflip=True, use_rot=True, label="haze")
    assert len(dataset) == 3
    item = dataset.sample(2, seed=1)
    assert item["lq_path"].endswith("0001_1_0.1.png")
    assert item["gt_path"].endswith("0001.png")
    torch.testing.assert_close(item["lq"] - item["gt"], torch.full((3, 8, 8), 80 / 255))
    assert item["degradation"].label == "haze"
    assert not item["degradation"].is_known


def test_rainy_images_are_named_by_two_parts(tmp_path):
    for name in ("gt/im_1", "gt/im_2", "lq/im_1_s80_a04", "lq/im_2_s80_a04", "lq/im_2_s90_a05"):
        write_image(tmp_path / f"{name}.png", np.zeros((6, 6, 3), np.uint8))
    folders = {"dataroot_gt": str(tmp_path / "gt"), "dataroot_lq": str(tmp_path / "lq")}
    dataset = build("datasets", {"type": "PairedImageOutdoorRainDataset", **folders})
    assert [pair[0] for pair in dataset.pairs] == ["im_1.png", "im_2.png", "im_2.png"]


def test_a_hazy_image_without_a_clean_one_is_an_error(haze):
    with pytest.raises(ValueError, match=r"lacks the clean image of 3 .* 0000_0\.8_0\.2\.png needs 0000\.jpg"):
        PairedImageDehazeDataset(**haze)


@pytest.fixture
def listed(tmp_path):
    """One clean photograph and two blurred ones in a folder, and a list of their pairs."""
    for name, value in (("a/gt/gt_1", 50), ("a/blur/blur_1", 60), ("a/blur/blur_2", 70), ("a/blur/unused", 0)):
        write_image(tmp_path / f"{name}.png", np.full((12, 10, 3), value, np.uint8))
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("a/gt/gt_1.png a/blur/blur_2.png\n\na/gt/gt_1.png\ta/blur/blur_1.png 0.5\n")
    return {"dataroot_gt": str(tmp_path), "dataroot_lq": str(tmp_path), "meta_info_file": str(pairs)}


def test_pairs_are_those_of_the_list_in_its_order(listed):
    dataset = PairedImageTxtlistDataset(**listed, label="blur", gt_size=8, use_rot=True)
    assert len(dataset) == 2
    for index, (name, value) in enumerate((("blur_2.png", 70), ("blur_1.png", 60))):
        item = dataset.sample(index, seed=0)
        assert (item["lq_path"].endswith(name), item["gt_path"].endswith("gt_1.png")) == (True, True)
        torch.testing.assert_close(item["lq"], torch.full((3, 8, 8), value / 255))
        torch.testing.assert_close(item["gt"], torch.full((3, 8, 8), 50 / 255))
        assert item["degradation"].label == "blur"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a/gt/gt_1.png\n", "expected a clean and a degraded image on a line, got 'a/gt/gt_1.png'"),
        ("a/gt/gt_1.png a/blur/blur_3.png\n", "names 1 images that dataroot_lq .* lacks: a/blur/blur_3.png"),
        ("a/gt/gt_2.png a/blur/blur_1.png\n", "names 1 images that dataroot_gt .* lacks: a/gt/gt_2.png"),
        ("\n", "names no image"),
    ],
)
def test_mistakes_in_a_list_are_named(listed, text, said):
    Path(listed["meta_info_file"]).write_text(text)
    with pytest.raises(ValueError, match=said):
        PairedImageTxtlistDataset(**listed)
