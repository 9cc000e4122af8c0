"""NIQE against values of the published code and its parts, and in validations without a ground truth."""

import math

import cv2
import numpy as np
import pytest
import torch

from uir.metrics import build_metric, niqe
from uir.metrics.niqe_metric import _fitted, block_features, calculate_niqe, normalised_luma


@pytest.fixture(scope="module")
def published(shared):
    return np.load(shared / "fixtures/metrics/niqe/io.npz")


@pytest.mark.parametrize("luma", ["y", "gray"])
@pytest.mark.parametrize("border", [0, 4])
def test_gives_basicsr_values(published, border, luma):
    found = calculate_niqe(published["img_bgr_hwc"], border, convert_to=luma)
    assert found == pytest.approx(float(published[f"niqe_crop{border}_{luma}"]), abs=1e-3)


def test_gives_basicsr_value_of_a_blurred_photograph(published):
    found = calculate_niqe(published["img_blurred"], 0)
    assert found == pytest.approx(float(published["niqe_blurred_crop0_y"]), abs=1e-3)


@pytest.mark.thorough
def test_gives_the_documented_value_of_baboon(shared):
    image = cv2.imread(str(shared / "data/test/Set14/baboon.png"))
    assert calculate_niqe(image, 0) == pytest.approx(5.72957338, abs=1e-5)


def test_the_features_of_a_block_are_the_published_ones(published):
    image = torch.from_numpy(published["img_bgr_hwc"][..., ::-1].copy()).double()
    plane = ((image @ torch.tensor([65.481, 128.553, 24.966]).double() / 255) + 16).round()[:192, :192]
    torch.testing.assert_close(
        normalised_luma(plane)[:96, :96], torch.from_numpy(published["mscn_block0"]), rtol=0, atol=1e-4
    )
    torch.testing.assert_close(
        block_features(plane, 96)[0], torch.from_numpy(published["features_block0"]), rtol=0, atol=1e-4
    )


def test_a_generalised_gaussian_is_recognised():
    """A Gaussian that is twice as wide to the left, where two thirds of it lie."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randn(1, 400_000, generator=generator, dtype=torch.float64).abs()
    is_left = torch.rand(sizes.shape, generator=generator) < 2 / 3
    shape, left, right = (value.item() for value in _fitted(torch.where(is_left, -2 * sizes, sizes)))
    assert shape == pytest.approx(2, abs=0.05)
    assert (left, right) == (pytest.approx(2 * math.sqrt(2), rel=0.02), pytest.approx(math.sqrt(2), rel=0.02))


def test_forms_agree(published):
    image = published["img_bgr_hwc"]
    tensor = torch.from_numpy(image[..., ::-1].copy()).movedim(-1, 0).float() / 255
    expected = calculate_niqe(image, 4)
    assert build_metric({"type": "NIQE", "crop_border": 4})(tensor) == pytest.approx(expected, abs=1e-9)
    assert niqe(tensor[None].expand(2, -1, -1, -1), crop_border=4).tolist() == pytest.approx([expected] * 2, abs=1e-9)
    assert calculate_niqe(image.transpose(2, 0, 1), 4, input_order="CHW") == pytest.approx(expected, abs=1e-9)


def test_a_grey_image_is_its_own_luma():
    plane = torch.rand(1, 96, 200, generator=torch.Generator().manual_seed(0))
    assert niqe(plane, luma="y").item() == niqe(plane, luma="yiq").item()


def test_says_which_luma_and_parameters():
    metric = build_metric({"type": "NIQE", "luma": "yiq"})
    assert metric.describe() == "NIQE (YIQ, border 0, uint8, parameters of Mittal et al.)"
    assert (metric.better, metric.needs_reference) == ("lower", False)


def test_flat_blocks_have_no_naturalness():
    assert math.isnan(niqe(torch.full((3, 96, 192), 0.5)).item())


@pytest.mark.parametrize(
    ("arguments", "image", "message"),
    [
        ({"luma": "rgb"}, torch.zeros(3, 96, 192), "luma: expected y or yiq, got 'rgb'"),
        ({}, torch.zeros(3, 96, 191), "two blocks of 96×96 pixels within the border, got 96×191"),
        ({"crop_border": -1}, torch.zeros(3, 96, 192), "crop_border: expected at least 0"),
        ({}, torch.zeros(2, 96, 192), r"expected float images .* got torch.float32 \[2, 96, 192\]"),
    ],
)
def test_mistakes(arguments, image, message):
    with pytest.raises(ValueError, match=message):
        build_metric({"type": "NIQE", **arguments})(image)


@pytest.mark.parametrize("mistake", [{"convert_to": "yiq"}, {"input_order": "WHC"}])
def test_mistakes_in_basicsr_form(mistake):
    with pytest.raises(ValueError, match=f"{next(iter(mistake))}: expected"):
        calculate_niqe(np.zeros((96, 192, 3), np.uint8), 0, **mistake)
