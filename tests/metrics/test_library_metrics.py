"""MS-SSIM, PSNR-B and ΔE against their definitions and the libraries that compute them."""

import math
import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.color import deltaE_ciede2000, rgb2lab

from uir.metrics import build_metric, psnr


@pytest.fixture
def pair(photographs):
    """A whole photograph's crop in whole grey levels, and the same with noise in whole grey levels."""
    import cv2

    image = cv2.imread(str(next(path for path in photographs if path.stem == "coffee")))[100:300, 80:272, ::-1]
    noise = np.random.default_rng(0).normal(0, 12, image.shape)
    noisy = np.clip(image + noise, 0, 255).round()
    return tuple(torch.from_numpy(x.astype(np.float64)).movedim(-1, 0)[None] / 255 for x in (noisy, image.copy()))


def similarity_at_each_scale(x, y, scales=5):
    """Mean contrast and structure at each scale, and of the last one the whole SSIM, of planes in [0, 255]."""

    def mean(z):
        return gaussian_filter(z, 1.5, truncate=5 / 1.5, mode="mirror")

    terms = []
    for scale in range(scales):
        mean_x, mean_y = mean(x), mean(y)
        covariance = mean(x * y) - mean_x * mean_y
        variances = mean(x * x) + mean(y * y) - mean_x**2 - mean_y**2
        term = (2 * covariance + 58.5225) / (variances + 58.5225)
        luminance = (2 * mean_x * mean_y + 6.5025) / (mean_x**2 + mean_y**2 + 6.5025)
        terms.append((term * luminance).mean() if scale == scales - 1 else term[5:-5, 5:-5].mean())
        x, y = (z[: len(z) // 2 * 2, : z.shape[1] // 2 * 2] for z in (x, y))
        x, y = ((z[::2, ::2] + z[1::2, ::2] + z[::2, 1::2] + z[1::2, 1::2]) / 4 for z in (x, y))
    return terms


def test_ms_ssim_is_the_weighted_product_over_five_scales(pair):
    planes = [image[0, 0].numpy() * 255 for image in pair]
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    expected = np.prod([term**weight for term, weight in zip(similarity_at_each_scale(*planes), weights, strict=True)])
    metric = build_metric({"type": "MSSSIM"})
    assert metric(pair[0][:, :1], pair[1][:, :1]) == pytest.approx(expected, abs=5e-6)
    assert metric.describe() == "MS-SSIM (RGB, border 0, uint8)"


def test_ms_ssim_of_equal_images_is_one(pair):
    assert build_metric({"type": "MSSSIM", "color_space": "y"})(pair[1], pair[1]) == pytest.approx(1)


def test_ms_ssim_says_what_is_too_small():
    image = torch.zeros(3, 180, 180)
    with pytest.raises(ValueError, match=r"at least 176×176 pixels within the border, got 172×172; SSIM measures"):
        build_metric({"type": "MSSSIM", "crop_border": 4})(image, image)


def test_psnr_b_without_steps_at_the_blocks_is_psnr():
    gt = torch.full((1, 16, 16), 100 / 255)
    restored = torch.full((1, 16, 16), 110 / 255)
    assert build_metric({"type": "PSNRB"})(restored, gt) == pytest.approx(psnr(restored, gt).item(), abs=1e-6)


def test_psnr_b_adds_the_steps_at_the_blocks_to_the_error():
    """Two blocks beside each other, 20 levels apart: the whole definition by hand."""
    gt = torch.full((16, 16), 100.0)
    restored = gt.clone()
    restored[:, 8:] += 20
    edges, others = 16 * 16 / 8 - 1, 16 * 15 - (16 * 16 / 8 - 1)
    effect = math.log2(8) / math.log2(16) * (16 * 20**2 / (2 * edges) - 0 / (2 * others))
    expected = 10 * math.log10(255**2 / (20**2 / 2 + effect))
    found = build_metric({"type": "PSNRB"})(restored[None] / 255, gt[None] / 255)
    assert found == pytest.approx(expected, abs=1e-5)


def test_psnr_b_of_a_batch_of_colours_is_the_mean_over_its_planes(pair):
    metric = build_metric({"type": "PSNRB", "color_space": "rgb"})
    planes = [metric(pair[0][:, c : c + 1], pair[1][:, c : c + 1]) for c in range(3)]
    assert metric(*pair) == pytest.approx(sum(planes) / 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop_border": 4}, "crop_border: expected a multiple of the blocks' 8 pixels, got 4"),
        ({"block_size": 1}, "block_size: expected at least 2 pixels, got 1"),
        ({"block_size": 16}, "needs more than 16×16 pixels, got 16×16"),
    ],
)
def test_psnr_b_says_what_is_out_of_range(arguments, message):
    image = torch.zeros(3, 16, 16)
    with pytest.raises(ValueError, match=message):
        build_metric({"type": "PSNRB", **arguments})(image, image)


def test_delta_e_is_scikit_images_mean(pair):
    noisy, clean = (rgb2lab(image[0].movedim(0, -1).numpy()) for image in pair)
    metric = build_metric({"type": "DeltaE"})
    assert metric(*pair) == pytest.approx(deltaE_ciede2000(clean, noisy).mean(), abs=1e-9)
    assert metric.better == "lower"


def test_delta_e_of_a_known_pair():
    """In CIELAB black and white are 100 apart, and grey images count as colours without chroma."""
    metric = build_metric({"type": "DeltaE", "formula": "cie76"})
    assert metric(torch.zeros(3, 4, 4), torch.ones(3, 4, 4)) == pytest.approx(100, abs=0.01)
    assert metric(torch.zeros(1, 4, 4), torch.ones(1, 4, 4)) == pytest.approx(100, abs=0.01)
    assert metric.describe() == "ΔE (RGB, border 0, uint8, cie76)"


def test_delta_e_says_which_formulas_there_are():
    with pytest.raises(ValueError, match="formula: expected ciede2000, ciede94 or cie76, got 'cmc'"):
        build_metric({"type": "DeltaE", "formula": "cmc"})


@pytest.mark.parametrize(
    ("name", "package"), [("MSSSIM", "torchmetrics"), ("PSNRB", "torchmetrics"), ("DeltaE", "skimage")]
)
def test_a_package_that_is_not_installed_is_named(monkeypatch, name, package):
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=f"val.metrics.m: {name} needs {package}, .* pip install 'uir.metrics.'"):
        build_metric({"type": name}, "val.metrics.m")
