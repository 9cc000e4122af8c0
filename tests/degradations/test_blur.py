"""Motion blur."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from uir.degradations.blur_degradation import MotionBlur
from uir.degradations.filters import line_kernel

IMAGE = torch.rand(3, 40, 52, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("length", "angle"), [(5, 0), (12.5, 30), (25, -70)])
def test_blur_is_the_mean_over_the_path(length, angle):
    kernel = line_kernel(length, angle).numpy()
    expected = np.stack([ndimage.correlate(plane, kernel, mode="mirror") for plane in IMAGE.double().numpy()])
    result = MotionBlur(length=length, angle=angle)(IMAGE, 0)[0]
    np.testing.assert_allclose(result.numpy(), expected, atol=2e-6)


def test_horizontal_blur_is_a_moving_average():
    expected = ndimage.uniform_filter1d(IMAGE.numpy(), 9, axis=2, mode="mirror")
    np.testing.assert_allclose(MotionBlur(length=9, angle=0)(IMAGE, 0)[0].numpy(), expected, atol=1e-6)


def test_length_one_is_the_identity():
    assert torch.equal(MotionBlur(length=1, angle=33)(IMAGE, 0)[0], IMAGE)


def test_constant_image_stays_constant():
    flat = torch.full((3, 30, 30), 0.3)
    torch.testing.assert_close(MotionBlur(length=20)(flat, 1)[0], flat, rtol=0, atol=1e-6)


def test_there_is_no_field_and_no_seed():
    assert set(MotionBlur().sample(0, (8, 8))) == {"length_px", "angle_deg"}


def test_length_below_a_pixel_is_refused():
    with pytest.raises(ValueError, match=r"MotionBlur\.length: must be at least 1, got 0"):
        MotionBlur(length=[0, 5])
