"""Shared kernels and filtering."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from uir.degradations.filters import filter2d, filter_valid, gaussian_kernel_1d, line_kernel, reflect_pad

ANGLES = [-90, -67, -45, -30, 0, 12.5, 45, 60, 90, 135, 180]


def random(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("side", [1, 3, 5, 9, 21])
def test_filter2d_is_scipys_correlation_with_mirrored_edges(side):
    image, kernel = random(2, 3, 31, 26), random(side, side) - 0.3
    kernel = kernel / kernel.abs().sum()
    expected = [[ndimage.correlate(c, kernel.numpy(), mode="mirror") for c in im] for im in image.double().numpy()]
    np.testing.assert_allclose(filter2d(image, kernel).numpy(), expected, atol=2e-6)


def test_oblong_kernels_shrink_each_side_by_their_own():
    image, kernel = random(2, 12, 14), random(3, 1)
    result = filter_valid(image, kernel)
    torch.testing.assert_close(result, torch.nn.functional.conv2d(image[:, None], kernel[None, None])[:, 0])
    assert result.shape == (2, 10, 14)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 3), (4, 9)])
def test_reflect_pad_wider_than_the_image(size):
    image = random(2, *size)
    expected = np.pad(image.numpy(), ((0, 0), (11, 11), (11, 11)), mode="reflect")
    np.testing.assert_array_equal(reflect_pad(image, 11).numpy(), expected)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("length", [1, 2.5, 7, 24])
def test_line_kernel_sums_to_one_and_is_symmetric(length, angle):
    kernel = line_kernel(length, angle)
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert abs(kernel.double().sum().item() - 1) < 1e-6
    assert kernel.min() >= 0
    torch.testing.assert_close(kernel, kernel.flip(0, 1), rtol=0, atol=1e-7)


@pytest.mark.parametrize("angle", ANGLES)
def test_line_kernel_lies_at_its_angle(angle):
    kernel = line_kernel(25, angle).double()
    offsets = torch.arange(kernel.shape[0], dtype=torch.float64) - kernel.shape[0] // 2
    x, y = offsets[None, :], -offsets[:, None]  # y upwards, as the image is seen
    xx, yy, xy = ((kernel * moment).sum().item() for moment in (x * x, y * y, x * y))
    principal = math.degrees(0.5 * math.atan2(2 * xy, xx - yy))
    assert abs((principal - angle + 90) % 180 - 90) < 0.5


@pytest.mark.parametrize("angle", [0, 30, 45, 80])
def test_line_kernel_has_its_length(angle):
    kernel = line_kernel(21, angle).double()
    offsets = torch.arange(kernel.shape[0], dtype=torch.float64) - kernel.shape[0] // 2
    variance = (kernel * (offsets[None, :] ** 2 + offsets[:, None] ** 2)).sum().item()
    assert abs(math.sqrt(12 * variance) - 21) < 0.6  # a uniform segment of length L has variance L²/12


def test_line_kernel_is_an_exact_box_along_the_axes():
    horizontal = torch.zeros(7, 7)
    horizontal[3] = 1 / 7
    torch.testing.assert_close(line_kernel(7, 0), horizontal, rtol=0, atol=1e-7)
    torch.testing.assert_close(line_kernel(7, 90), horizontal.T, rtol=0, atol=1e-7)


@pytest.mark.parametrize("angle", ANGLES)
def test_line_of_one_pixel_is_the_identity(angle):
    assert line_kernel(1, angle).tolist() == [[1.0]]


def test_gaussian_kernel_has_its_deviation():
    kernel = gaussian_kernel_1d(41, 3.0).double()
    offsets = torch.arange(-20, 21, dtype=torch.float64)
    assert abs(kernel.sum().item() - 1) < 1e-6
    assert abs((kernel * offsets**2).sum().item() ** 0.5 - 3.0) < 1e-3
