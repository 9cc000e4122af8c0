"""MATLAB's imresize: closed forms, torch's antialiased resize inside the border, published numbers and a score."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from uir.layers.resize import imresize
from uir.metrics import psnr

SHARED = Path(__file__).resolve().parents[2] / "../shared"
FIXTURE = SHARED / "fixtures/degradations/matlab_imresize/io.npz"
SET5 = SHARED / "data/test/Set5"


@pytest.fixture
def image():
    return torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [((10, 15), 0.25, (3, 4)), ((7, 9), 2, (14, 18)), ((5, 5), 1.5, (8, 8)), ((48, 60), 1 / 3, (16, 20))],
)
def test_output_size_is_rounded_up(size, scale, expected):
    assert imresize(torch.zeros(3, *size), scale).shape == (3, *expected)


def test_size_gives_that_size_and_the_scale_it_implies(image):
    torch.testing.assert_close(imresize(image, size=(20, 28)), imresize(image, 0.5))
    assert imresize(image, size=(13, 90)).shape == (1, 3, 13, 90)


@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
@pytest.mark.parametrize("scale", [0.3, 0.5, 1.7, 4])
def test_a_flat_image_stays_flat(method, scale):
    flat = torch.full((3, 11, 13), 0.37, dtype=torch.float64)
    result = imresize(flat, scale, method=method)
    torch.testing.assert_close(result, torch.full_like(result, 0.37))


def test_scale_one_gives_the_image_back(image):
    torch.testing.assert_close(imresize(image, 1), image)


@pytest.mark.parametrize("method", ["bicubic", "bilinear"])
@pytest.mark.parametrize("scale", [0.5, 0.25, 2])
def test_equals_torch_antialiased_resize_away_from_the_border(image, method, scale):
    reference = F.interpolate(image, scale_factor=scale, mode=method, antialias=True, align_corners=False)
    border = max(2, round(2 * scale) + 1)
    inside = (..., slice(border, -border), slice(border, -border))
    torch.testing.assert_close(imresize(image, scale, method=method)[inside], reference[inside], atol=1e-9, rtol=0)


def test_without_antialiasing_half_a_scale_is_the_bilinear_mean_of_four(image):
    reference = F.avg_pool2d(image, 2)
    torch.testing.assert_close(imresize(image, 0.5, antialias=False, method="bilinear"), reference)


def test_border_is_mirrored_with_the_edge_pixel_repeated(image):
    padded = torch.cat([image.flip(-1), image, image.flip(-1)], dim=-1)
    padded = torch.cat([padded.flip(-2), padded, padded.flip(-2)], dim=-2)
    torch.testing.assert_close(imresize(padded, 0.25)[..., 10:20, 14:28], imresize(image, 0.25))


def test_an_image_smaller_than_the_kernel_is_mirrored_as_often_as_needed():
    tiny = torch.tensor([[[0.25, 0.75]]])
    torch.testing.assert_close(imresize(tiny, 0.125), torch.tensor([[[0.5]]]))


def test_gradient(image):
    small = image[..., :6, :7].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: imresize(x, 0.7), small)


def test_takes_part_in_training_after_inference_mode_filled_the_cache():
    with torch.inference_mode():
        imresize(torch.rand(3, 17, 19), 0.5)
    image = torch.rand(3, 17, 19, requires_grad=True)
    imresize(image, 0.5).sum().backward()
    assert image.grad is not None


def test_half_precision_keeps_its_type(image):
    result = imresize(image.to(torch.bfloat16), 0.5)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.double(), imresize(image, 0.5), atol=0.02, rtol=0)


def test_memory_layout_does_not_matter(image):
    torch.testing.assert_close(imresize(image.transpose(-1, -2), 0.5), imresize(image, 0.5).transpose(-1, -2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either scale or size"),
        ({"scale": 2, "size": (4, 4)}, "either scale or size"),
        ({"scale": 0}, "scale must be a positive number, got 0"),
        ({"scale": float("nan")}, "scale must be a positive number"),
        ({"size": (0, 4)}, "at least 1 pixel"),
        ({"scale": 2, "method": "bicubik"}, "bicubic, bilinear"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        imresize(torch.zeros(3, 8, 8), **arguments)


def test_integer_images_are_refused():
    with pytest.raises(ValueError, match=r"expected a float image .* got torch.uint8 \[3, 8, 8\]"):
        imresize(torch.zeros(3, 8, 8, dtype=torch.uint8), 2)


@pytest.mark.skipif(not FIXTURE.exists(), reason="../shared/fixtures is absent")
@pytest.mark.parametrize(
    ("key", "scale", "antialias"),
    [
        ("scale_0.5", 0.5, True),
        ("scale_0.25", 0.25, True),
        ("scale_0.333333", 1 / 3, True),
        ("scale_2", 2, True),
        ("scale_0.7", 0.7, True),
        ("scale_0.5_no_antialias", 0.5, False),
    ],
)
def test_equals_the_published_numbers(key, scale, antialias):
    stored = np.load(FIXTURE)
    image = torch.from_numpy(stored["in_hwc"]).permute(2, 0, 1)
    result = imresize(image, scale, antialias=antialias).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(result, stored[key], atol=1e-6)


@pytest.mark.skipif(not SET5.exists(), reason="../shared/data is absent")
def test_bicubic_baseline_of_set5_is_the_published_one():
    scores = []
    for path in sorted(SET5.iterdir()):
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        gt = torch.from_numpy(bgr[..., ::-1].copy()).permute(2, 0, 1).float() / 255
        gt = gt[:, : gt.shape[1] // 4 * 4, : gt.shape[2] // 4 * 4]
        saved = (imresize(gt, 0.25).clamp(0, 1) * 255).round() / 255
        scores.append(psnr(imresize(saved, 4), gt, protocol="basicsr_y", crop_border=4).item())
    assert len(scores) == 5
    assert np.mean(scores) == pytest.approx(28.42, abs=0.02)
