"""PSNR: closed forms, scikit-image, basicsr, and the published numbers."""

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from uir.compat import load_basicsr
from uir.metrics import psnr
from uir.metrics.psnr_metric import PSNR, calculate_psnr, calculate_psnr_pt

FIXTURE = Path(__file__).resolve().parents[2] / "../shared/fixtures/metrics/psnr_ssim/io.npz"


def to_tensor(bgr):
    return torch.from_numpy(bgr[..., ::-1].copy()).permute(2, 0, 1).float() / 255


@pytest.fixture
def arrays():
    """A uint8 BGR image and a noisy copy."""
    generator = np.random.default_rng(0)
    clean = generator.integers(0, 256, (41, 53, 3), dtype=np.uint8)
    noisy = np.clip(clean + generator.normal(0, 12, clean.shape), 0, 255).round().astype(np.uint8)
    return noisy, clean


@pytest.fixture
def pair(arrays):
    noisy, clean = arrays
    return to_tensor(noisy), to_tensor(clean)


def test_a_constant_error_of_ten_grey_levels():
    clean = torch.full((1, 3, 8, 8), 100 / 255)
    assert psnr(clean + 10 / 255, clean).item() == pytest.approx(20 * math.log10(25.5), abs=1e-9)


def test_identical_images_score_infinity(pair):
    assert psnr(pair[1], pair[1]).item() == math.inf


def test_equals_scikit_image(pair):
    restored, gt = (image.double().numpy() for image in pair)
    expected = peak_signal_noise_ratio(gt, restored, data_range=1)
    assert psnr(*pair, rounding="none").item() == pytest.approx(expected, abs=1e-6)


def test_one_score_per_image_of_a_batch(pair):
    restored, gt = pair
    scores = psnr(torch.stack([restored, gt]), torch.stack([gt, gt]))
    assert scores.shape == (2,)
    assert scores[0] == psnr(restored, gt)[0]
    assert scores[1] == math.inf


def test_rounding_compares_what_would_be_saved():
    gt = torch.full((3, 4, 4), 0.5)  # 127.5 is saved as 128
    restored = torch.full((3, 4, 4), 128.4 / 255)
    assert psnr(restored, gt).item() == math.inf
    assert psnr(restored, gt, rounding="none").item() == pytest.approx(20 * math.log10(255 / 0.9), abs=1e-4)


def test_clipping_forgives_what_lies_outside_the_range():
    gt = torch.ones(3, 4, 4)
    assert psnr(gt + 0.3, gt, rounding="none").item() == math.inf
    assert psnr(gt + 0.3, gt, rounding="none", clip=False).item() == pytest.approx(-20 * math.log10(0.3), abs=1e-4)


def test_border_is_left_out(pair):
    restored, gt = pair[0].clone(), pair[1]
    score = psnr(restored, gt, crop_border=3)
    restored[:, :3] = 0
    restored[:, :, -3:] = 1
    assert psnr(restored, gt, crop_border=3) == score
    assert psnr(restored, gt) < score


def test_a_grey_error_weighs_219_of_255_levels_on_the_luma():
    clean = torch.full((1, 3, 8, 8), 100 / 255)
    difference = psnr(clean + 10 / 255, clean, color_space="y") - psnr(clean + 10 / 255, clean)
    assert difference.item() == pytest.approx(20 * math.log10(255 / 219), abs=1e-5)


def test_rounding_the_luma_is_another_number(pair):
    assert psnr(*pair, color_space="y", round_luma=True) != psnr(*pair, color_space="y")


def test_centre_crop_to_a_multiple(pair):
    restored, gt = pair  # 41 × 53 pixels
    expected = psnr(restored[:, 4:36, 2:50], gt[:, 4:36, 2:50])
    assert psnr(restored, gt, multiple_of=16) == expected


def test_a_one_channel_image_is_its_own_luma(pair):
    restored, gt = pair[0][:1], pair[1][:1]
    assert psnr(restored, gt, color_space="y") == psnr(restored, gt)


def test_gradient_flows_where_nothing_is_rounded(pair):
    restored = pair[0].clone().requires_grad_()
    psnr(restored, pair[1], rounding="none").backward()
    assert restored.grad.abs().sum() > 0


def test_bfloat16_is_compared_exactly(pair):
    restored = pair[0].to(torch.bfloat16)
    assert psnr(restored, pair[1]) == psnr(restored.float(), pair[1])


def test_not_a_number_stays_so(pair):
    restored = pair[0].clone()
    restored[0, 0, 0] = math.nan
    assert math.isnan(psnr(restored, pair[1]).item())


def test_shape_mismatch_names_both_shapes():
    with pytest.raises(ValueError, match=r"\[3, 8, 8\] .* \[3, 8, 9\]"):
        psnr(torch.zeros(3, 8, 8), torch.zeros(3, 8, 9))


@pytest.mark.parametrize("function", [psnr, calculate_psnr_pt])
def test_integer_tensors_are_refused(function):
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match="expected float images"):
        function(image, image, crop_border=0)


@pytest.mark.parametrize("border", [4, -1])
def test_a_border_that_leaves_nothing_is_refused(border, arrays):
    with pytest.raises(ValueError, match="crop_border"):
        calculate_psnr(arrays[0][:8, :8], arrays[1][:8, :8], border)


def test_input_order_is_checked(arrays):
    noisy, clean = arrays
    chw = calculate_psnr(noisy.transpose(2, 0, 1), clean.transpose(2, 0, 1), 2, input_order="CHW")
    assert chw == pytest.approx(calculate_psnr(noisy, clean, 2), abs=1e-12)
    with pytest.raises(ValueError, match="HWC or CHW"):
        calculate_psnr(noisy, clean, 0, input_order="CWH")


def test_the_class_gives_the_mean_and_says_what_it_measured(pair):
    metric = PSNR(color_space="y", crop_border=4)
    batch = torch.stack([pair[0], pair[0]]), torch.stack([pair[1], pair[1].flip(-1)])
    assert metric(*batch) == psnr(*batch, color_space="y", crop_border=4).mean().item()
    assert metric.describe() == "PSNR (Y, border 4, uint8)"


@pytest.mark.skipif(find_spec("basicsr") is None, reason="basicsr is not installed")
@pytest.mark.parametrize("luma", [False, True])
@pytest.mark.parametrize("border", [0, 4])
def test_equals_basicsr(arrays, pair, border, luma):
    load_basicsr()
    from basicsr.metrics import psnr_ssim

    expected = psnr_ssim.calculate_psnr(*arrays, crop_border=border, test_y_channel=luma)
    assert calculate_psnr(*arrays, border, test_y_channel=luma) == pytest.approx(expected, abs=1e-6)
    assert psnr(*pair, crop_border=border, color_space="y" if luma else "rgb").item() == pytest.approx(
        expected, abs=1e-6
    )


@pytest.mark.skipif(not FIXTURE.exists(), reason="../shared/fixtures is absent")
@pytest.mark.parametrize("luma", ["rgb", "y"])
@pytest.mark.parametrize("border", [0, 4])
def test_equals_the_published_numbers(border, luma):
    stored = np.load(FIXTURE)
    first, second = stored["img1_bgr_hwc"], stored["img2_bgr_hwc"]
    by_array = calculate_psnr(first, second, border, test_y_channel=luma == "y")
    by_tensor = calculate_psnr_pt(to_tensor(first)[None], to_tensor(second)[None], border, luma == "y").item()
    assert by_array == pytest.approx(stored[f"psnr_crop{border}_{luma}"].item(), abs=1e-6)
    assert by_tensor == pytest.approx(stored[f"psnr_pt_crop{border}_{luma}"].item(), abs=1e-6)
