"""SSIM: its definition, scikit-image in both of its windows, basicsr, and the published numbers."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from uir.compat import load_basicsr
from uir.metrics import ssim
from uir.metrics.ssim_metric import C1, SSIM, calculate_ssim, calculate_ssim_pt

FIXTURE = Path(__file__).resolve().parents[2] / "../shared/fixtures/metrics/psnr_ssim/io.npz"


def to_tensor(bgr):
    return torch.from_numpy(bgr[..., ::-1].copy()).permute(2, 0, 1).float() / 255


@pytest.fixture
def arrays():
    """A smooth uint8 BGR image and a noisy copy."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:45, :57]
    clean = np.stack([128 + 100 * np.sin(rows / 5 + k) * np.cos(columns / 7) for k in range(3)], axis=-1)
    noisy = np.clip(clean + generator.normal(0, 15, clean.shape), 0, 255)
    return noisy.round().astype(np.uint8), clean.round().astype(np.uint8)


@pytest.fixture
def pair(arrays):
    return to_tensor(arrays[0]), to_tensor(arrays[1])


def test_identical_images_score_one(pair):
    assert ssim(pair[1], pair[1]).item() == pytest.approx(1, abs=1e-12)


def test_flat_images_are_compared_by_their_luminance():
    first, second = torch.full((3, 16, 16), 100 / 255), torch.full((3, 16, 16), 150 / 255)
    expected = (2 * 100 * 150 + C1) / (100**2 + 150**2 + C1)
    assert ssim(first, second).item() == pytest.approx(expected, abs=1e-9)


def test_equals_scikit_image_with_gaussian_window_over_the_valid_region(arrays, pair):
    _, per_pixel = structural_similarity(
        *arrays,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
    )
    assert ssim(*pair).item() == pytest.approx(per_pixel[5:-5, 5:-5].mean(), abs=1e-5)


def test_uniform_window_equals_scikit_image_default(arrays, pair):
    expected = structural_similarity(*arrays, channel_axis=2, data_range=255)
    assert ssim(*pair, window="uniform").item() == pytest.approx(expected, abs=1e-9)


def test_one_score_per_image_of_a_batch(pair):
    restored, gt = pair
    scores = ssim(torch.stack([restored, gt]), torch.stack([gt, gt]))
    torch.testing.assert_close(scores, torch.stack([ssim(restored, gt)[0], ssim(gt, gt)[0]]))


def test_border_and_luma_are_as_for_psnr(arrays, pair):
    by_array = calculate_ssim(*arrays, crop_border=3, test_y_channel=True)
    assert ssim(*pair, crop_border=3, color_space="y").item() == pytest.approx(by_array, abs=1e-7)


def test_grey_array(arrays):
    grey = [array[..., 0] for array in arrays]
    expected = calculate_ssim(grey[0][..., None], grey[1][..., None], 2)
    assert calculate_ssim(*grey, 2) == pytest.approx(expected, abs=1e-12)


def test_gradient_points_towards_the_ground_truth(pair):
    restored = pair[0].clone().requires_grad_()
    ssim(restored, pair[1], rounding="none").backward()
    nearer = restored.detach() + 1e-3 * restored.grad / restored.grad.abs().max()
    assert ssim(nearer, pair[1], rounding="none") > ssim(restored, pair[1], rounding="none")


def test_memory_layout_does_not_matter(pair):
    transposed = [image.transpose(-1, -2) for image in pair]
    assert ssim(*transposed).item() == pytest.approx(ssim(*pair).item(), abs=1e-12)


def test_an_image_smaller_than_the_window_is_refused():
    with pytest.raises(ValueError, match="at least 11×11 pixels within the border, got 10×12"):
        ssim(torch.zeros(3, 14, 16), torch.zeros(3, 14, 16), crop_border=2)


def test_shape_mismatch_names_both_shapes():
    with pytest.raises(ValueError, match=r"\[3, 16, 16\] .* \[1, 16, 16\]"):
        ssim(torch.zeros(3, 16, 16), torch.zeros(1, 16, 16))


def test_the_class_says_what_it_measured(pair):
    metric = SSIM(protocol="promptir")
    assert metric.describe() == "SSIM (RGB, border 0, unrounded, multiple of 16, protocol promptir, 7×7 uniform window)"
    assert metric(*pair) == ssim(*pair, protocol="promptir").item()


@pytest.mark.skipif(find_spec("basicsr") is None, reason="basicsr is not installed")
@pytest.mark.parametrize("luma", [False, True])
@pytest.mark.parametrize("border", [0, 4])
def test_equals_basicsr(arrays, pair, border, luma):
    load_basicsr()
    from basicsr.metrics import psnr_ssim

    expected = psnr_ssim.calculate_ssim(*arrays, crop_border=border, test_y_channel=luma)
    assert calculate_ssim(*arrays, border, test_y_channel=luma) == pytest.approx(expected, abs=1e-7)
    assert ssim(*pair, crop_border=border, color_space="y" if luma else "rgb").item() == pytest.approx(
        expected, abs=1e-7
    )


@pytest.mark.skipif(not FIXTURE.exists(), reason="../shared/fixtures is absent")
@pytest.mark.parametrize("luma", ["rgb", "y"])
@pytest.mark.parametrize("border", [0, 4])
def test_equals_the_published_numbers(border, luma):
    stored = np.load(FIXTURE)
    first, second = stored["img1_bgr_hwc"], stored["img2_bgr_hwc"]
    by_array = calculate_ssim(first, second, border, test_y_channel=luma == "y")
    by_tensor = calculate_ssim_pt(to_tensor(first)[None], to_tensor(second)[None], border, luma == "y").item()
    assert by_array == pytest.approx(stored[f"ssim_crop{border}_{luma}"].item(), abs=1e-7)
    assert by_tensor == pytest.approx(stored[f"ssim_pt_crop{border}_{luma}"].item(), abs=1e-7)
