"""Shared kernels and filtering."""

import math

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from uir.degradations.filters import filter2d, filter2d_each, filter_grouped, filter_valid, reflect_pad
from uir.degradations.kernels import (
    disk_kernel,
    gaussian_kernel,
    gaussian_kernel_1d,
    generalized_gaussian_kernel,
    line_kernel,
    sinc_kernel,
)
from uir.degradations.opencv_filters import separable_terms, tiles_of, trimmed

pytestmark = pytest.mark.thorough

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


NAMED = {
    "narrow Gaussian": gaussian_kernel(21, 0.4),
    "wide Gaussian": gaussian_kernel(51, 8),
    "turned Gaussian": gaussian_kernel(21, 3, 0.3, 45),
    "disk": disk_kernel(10, 0.5),
    "small disk": disk_kernel(5, 0.5),
    "sinc": sinc_kernel(21, 1.5),
    "line": line_kernel(25, 30),
    "denormal tails": generalized_gaussian_kernel(21, 2.4, 0.8, 34, 1.7),
    "identity": line_kernel(1, 0),
    "nothing": torch.zeros(5, 5),
}


@pytest.mark.parametrize("name", NAMED)
def test_opencv_agrees_with_the_reference(name):
    image = random(2, 3, 70, 64)
    assert (filter2d(image, NAMED[name]).double() - filter2d(image.double(), NAMED[name])).abs().max() < 1e-5


@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (1, 30), (30, 1), (6, 6), (25, 14)])
def test_kernels_of_even_and_unequal_sides_agree_with_the_reference(shape):
    image, kernel = random(2, 40, 44), random(*shape) / 100
    torch.testing.assert_close(
        filter_valid(image, kernel).double(), filter_valid(image.double(), kernel), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("name", ["wide Gaussian", "disk", "line"])
def test_place_in_memory_changes_no_bit(name):
    padded = random(3, 64, 70)
    image = padded[:, 1:, 3:]
    shifted = torch.empty(3 * 63 * 67 + 1)[1:].reshape(3, 63, 67).copy_(image)
    assert torch.equal(filter2d(image, NAMED[name]), filter2d(image.clone(), NAMED[name]))
    assert torch.equal(filter2d(shifted, NAMED[name]), filter2d(image.clone(), NAMED[name]))


@pytest.mark.parametrize("name", ["wide Gaussian", "turned Gaussian", "disk", "line", "sinc"])
def test_bits_do_not_depend_on_opencvs_threads(name):
    image, before = random(3, 300, 301), cv2.getNumThreads()
    try:
        results = []
        for threads in (1, 2, 3):
            cv2.setNumThreads(threads)
            results.append(filter2d(image, NAMED[name]))
    finally:
        cv2.setNumThreads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_image_that_wants_a_gradient_keeps_it():
    image = random(3, 9, 9).requires_grad_()
    filter2d(image, gaussian_kernel(5, 1.0)).sum().backward()
    assert abs(image.grad.sum() - 3 * 81) < 1e-2  # every pixel's weight is spread, none is lost


def test_each_image_has_its_own_kernel():
    images, kernels = random(3, 3, 20, 22), [gaussian_kernel(7, 1.0), line_kernel(5, 30), gaussian_kernel(3, 0.7)]
    expected = torch.stack([filter2d(image, kernel) for image, kernel in zip(images, kernels, strict=True)])
    assert torch.equal(filter2d_each(images, kernels), expected)


def test_grouped_convolution_is_what_other_devices_do():
    images, kernels = random(3, 2, 20, 22), random(3, 5, 5)
    expected = torch.stack(
        [filter_valid(image.double(), kernel) for image, kernel in zip(images, kernels, strict=True)]
    )
    torch.testing.assert_close(filter_grouped(images, kernels).double(), expected, rtol=0, atol=1e-5)
    shapes = filter2d_each(images.to("meta"), [gaussian_kernel(7, 1.0), line_kernel(5, 30), gaussian_kernel(3, 1)])
    assert shapes.shape == images.shape


@pytest.mark.parametrize("name", NAMED)
def test_tiles_make_up_the_kernel(name):
    kernel = NAMED[name].double().numpy()
    put_together = np.zeros_like(kernel)
    for tile in tiles_of(kernel):
        rows, columns = tile.taps.shape
        assert max(rows, columns) <= 11
        put_together[tile.row : tile.row + rows, tile.column : tile.column + columns] += tile.taps
    np.testing.assert_array_equal(put_together, kernel)


def test_separable_kernels_are_found():
    assert len(separable_terms(gaussian_kernel(21, 3.0).double().numpy(), 5.8)) == 1
    terms = separable_terms(gaussian_kernel(21, 3.0, 2.5, 40).double().numpy(), 5.8)
    rebuilt = sum(np.outer(column, row) for column, row in terms)
    assert np.abs(rebuilt - gaussian_kernel(21, 3.0, 2.5, 40).double().numpy()).sum() < 1e-5
    assert separable_terms(line_kernel(25, 45).double().numpy(), 5.8) is None


def test_negligible_margins_are_trimmed_and_the_sum_is_kept():
    narrow = trimmed(gaussian_kernel(21, 0.4).double().numpy())
    assert narrow.shape == (5, 5)
    assert abs(narrow.sum() - 1) < 1e-7
    assert trimmed(gaussian_kernel(21, 8.0).double().numpy()).shape == (21, 21)
