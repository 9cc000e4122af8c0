"""Unsharp masking and ringing."""

import cv2
import numpy as np
import pytest
import torch

from uir.degradations.kernels import gaussian_kernel
from uir.degradations.sharpen_degradation import Ringing, USMSharpen

IMAGE = torch.rand(3, 60, 72, generator=torch.Generator().manual_seed(0))
EDGE = torch.cat([torch.full((3, 60, 36), 0.3), torch.full((3, 60, 36), 0.7)], -1)


@pytest.mark.parametrize(("weight", "radius", "threshold"), [(0.5, 50, 10), (1.0, 15, 40)])
def test_sharpening_is_the_formula_in_opencv(weight, radius, threshold):
    image = IMAGE.permute(1, 2, 0).double().numpy()
    side = radius // 2 * 2 + 1

    def blur(array: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(array, (side, side), 0)

    detail = image - blur(image)
    mask = blur((np.abs(detail) * 255 > threshold).astype(np.float64))
    sharp = np.clip(image + weight * detail, 0, 1)
    expected = mask * sharp + (1 - mask) * image
    result, _ = USMSharpen(weight, radius, threshold)(IMAGE, 0)
    np.testing.assert_allclose(result.permute(1, 2, 0).numpy(), expected, atol=1e-4)


def test_flat_regions_and_weight_zero_are_left_alone():
    torch.testing.assert_close(USMSharpen(threshold=300)(IMAGE, 0)[0], IMAGE, rtol=0, atol=1e-6)
    torch.testing.assert_close(USMSharpen(weight=0)(IMAGE, 0)[0], IMAGE, rtol=0, atol=1e-6)


def test_edges_overshoot():
    result, _ = USMSharpen()(EDGE, 0)
    assert result.max() > 0.72
    assert result.min() < 0.28


def test_even_radius_is_one_more():
    assert USMSharpen(radius=50).sample(0, (8, 8)) == {"weight": 0.5, "kernel_size": 51, "threshold_255": 10.0}


def test_ringing_makes_halos_that_widen_with_sigma():
    def halo(sigma: float) -> int:
        off = (Ringing(sigma=sigma)(EDGE, 0)[0] - EDGE).abs()[0, 30]
        return int((off > 0.01).sum())

    assert 0 < halo(0.4) < halo(1.0) < halo(2.0)


def test_ringing_of_an_image_that_is_as_blurred_restores_it():
    blurred = torch.from_numpy(cv2.filter2D(EDGE[0].double().numpy(), -1, gaussian_kernel(15, 1.0).double().numpy()))
    restored = Ringing(sigma=1.0)(blurred[None], 0)[0][0]
    wider = Ringing(sigma=2.0)(blurred[None], 0)[0][0]
    assert (restored - EDGE[0]).abs().mean() < (blurred - EDGE[0]).abs().mean()
    assert (wider - EDGE[0]).abs().mean() > (restored - EDGE[0]).abs().mean()


@pytest.mark.parametrize("op", [USMSharpen, Ringing])
def test_severity_rises_over_the_examples(op):
    first, second, third = (op.severity(op(**example).sample(0, (64, 64))) for example in op.severities)
    assert 0 < first < second < third <= 1


@pytest.mark.parametrize(
    ("op", "arguments", "message"),
    [
        (USMSharpen, {"weight": -1}, r"USMSharpen\.weight: must be at least 0"),
        (USMSharpen, {"radius": 0}, r"USMSharpen\.radius: must be at least 1"),
        (USMSharpen, {"radius": 2.5}, r"USMSharpen\.radius: expected a whole number"),
        (Ringing, {"sigma": 0}, r"Ringing\.sigma: must be between 0\.1 and 10"),
        (Ringing, {"noise_ratio": 0}, r"Ringing\.noise_ratio: must be at least"),
    ],
)
def test_mistakes_are_named(op, arguments, message):
    with pytest.raises(ValueError, match=message):
        op(**arguments)
