"""Blur kernels against closed forms."""

import math

import cv2
import numpy as np
import pytest
import torch
from scipy import special, stats

from uir.degradations.kernels import (
    bessel_j1,
    deviation_px,
    disk_kernel,
    gaussian_kernel,
    gaussian_kernel_1d,
    generalized_gaussian_kernel,
    line_kernel,
    plateau_kernel,
    sinc_kernel,
    trajectory,
    trajectory_kernel,
    wiener_kernel,
)

FORCES = {"anxiety": 0.005, "centripetal": 0.3, "shake_probability": 0.1, "shake_px": 5.0}
KERNELS = {
    "gaussian": gaussian_kernel(15, 2.4, 0.8, 34),
    "generalized": generalized_gaussian_kernel(15, 2.4, 0.8, 34, 1.7),
    "plateau": plateau_kernel(15, 2.4, 0.8, 34, 1.4),
    "sinc": sinc_kernel(15, 1.5),
    "disk": disk_kernel(4.3, 0.5),
    "line": line_kernel(12, 33),
    "trajectory": trajectory_kernel(3, 40, 0.5, **FORCES),
    "wiener": wiener_kernel(0.8, 0.006),
}


def moments(kernel: torch.Tensor) -> tuple[float, float, float]:
    """Variances along x and y (downwards), and their covariance."""
    weights = kernel.double()
    offsets = torch.arange(len(kernel), dtype=torch.float64) - len(kernel) // 2
    x, y = offsets[None, :], offsets[:, None]
    return tuple((weights * product).sum().item() for product in (x * x, y * y, x * y))


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_are_odd_squares_that_sum_to_one(name):
    kernel = KERNELS[name]
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.dtype == torch.float32
    assert abs(kernel.double().sum().item() - 1) < 1e-6


@pytest.mark.parametrize("name", sorted(set(KERNELS) - {"trajectory"}))
def test_kernels_are_symmetric_about_their_centre(name):
    torch.testing.assert_close(KERNELS[name], KERNELS[name].flip(0, 1), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("sigma_x", "sigma_y", "angle"), [(2.4, 0.8, 34), (1.1, 3.0, -70), (2.0, 2.0, 10)])
def test_gaussian_is_the_normal_density_of_its_covariance(sigma_x, sigma_y, angle):
    radians = math.radians(angle)
    turn = np.array([[math.cos(radians), -math.sin(radians)], [math.sin(radians), math.cos(radians)]])
    covariance = turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T
    y, x = np.mgrid[-10:11, -10:11]
    density = stats.multivariate_normal([0, 0], covariance).pdf(np.stack([x, y], -1))
    np.testing.assert_allclose(gaussian_kernel(21, sigma_x, sigma_y, angle), density / density.sum(), atol=1e-8)


def test_positive_angle_leans_clockwise_as_the_image_is_seen():
    xx, yy, xy = moments(gaussian_kernel(31, 3, 1, 30))
    assert abs(math.degrees(0.5 * math.atan2(2 * xy, xx - yy)) - 30) < 0.1  # y counts downwards


def test_no_width_is_the_identity():
    identity = torch.zeros(7, 7)
    identity[3, 3] = 1
    assert torch.equal(gaussian_kernel(7, 0), identity)
    assert torch.equal(gaussian_kernel_1d(7, 0), identity[3])


def test_separable_gaussian_is_the_outer_product():
    profile = gaussian_kernel_1d(15, 1.7)
    torch.testing.assert_close(gaussian_kernel(15, 1.7), torch.outer(profile, profile), rtol=0, atol=1e-7)


def test_shape_one_is_the_gaussian():
    arguments = (15, 2.0, 1.0, 20)
    torch.testing.assert_close(
        generalized_gaussian_kernel(*arguments, 1.0), gaussian_kernel(*arguments), rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("beta", [0.5, 1.4, 4.0])
def test_shaped_kernels_fall_as_their_formula_says(beta):
    generalized, plateau = (f(15, 2.0, 2.0, 0, beta) for f in (generalized_gaussian_kernel, plateau_kernel))
    squared = (3 / 2) ** 2
    assert abs(generalized[7, 10] / generalized[7, 7] - math.exp(-0.5 * squared**beta)) < 1e-6
    assert abs(plateau[7, 10] / plateau[7, 7] - 1 / (1 + squared**beta)) < 1e-6


def test_bessel_function_is_scipys():
    x = np.linspace(0, 150, 500)
    np.testing.assert_allclose(bessel_j1(x), special.j1(x), atol=1e-14)


@pytest.mark.parametrize("omega", [1.0, 2.2])
def test_sinc_is_a_low_pass(omega):
    response = np.abs(np.fft.fft2(sinc_kernel(201, omega).double().numpy()))
    frequency = np.hypot(*np.meshgrid(*[2 * np.pi * np.fft.fftfreq(201)] * 2))
    assert np.abs(response[frequency < omega - 0.3] - 1).max() < 0.1
    assert response[frequency > omega + 0.3].max() < 0.1


@pytest.mark.parametrize(("radius", "alias"), [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)])
def test_disk_is_opencvs_smoothed_disk(radius, alias):
    kernel = disk_kernel(radius, alias)
    y, x = np.mgrid[-20:21, -20:21]
    disk = (x**2 + y**2 <= radius**2).astype(np.float64)
    expected = cv2.GaussianBlur(disk / disk.sum(), (3, 3) if radius <= 8 else (5, 5), sigmaX=alias)
    margin = 20 - len(kernel) // 2
    np.testing.assert_allclose(kernel, expected[margin:-margin, margin:-margin], atol=1e-8)
    assert abs(expected[margin:-margin, margin:-margin].sum() - 1) < 1e-9


def test_trajectory_runs_at_constant_speed_over_its_length():
    path = trajectory(5, 60.0, **FORCES)
    strides = np.abs(np.diff(path))
    assert abs(strides.sum() - 60) < 1e-9
    assert np.ptp(strides) < 1e-12


def test_trajectory_without_shake_is_a_straight_line():
    path = trajectory(5, 60.0, anxiety=0, centripetal=0.7, shake_probability=0.2, shake_px=10.0)
    assert abs(abs(path[-1]) - 60) < 1e-6


def test_shakes_bend_the_path_and_the_pull_keeps_it_together():
    def reach(anxiety: float, centripetal: float, shake: float) -> float:
        paths = [trajectory(seed, 60.0, anxiety, centripetal, 0.0, shake) for seed in range(20)]
        return float(np.mean([np.abs(path).max() for path in paths]))

    assert reach(0.005, 0, 10) > reach(0.02, 0, 10)
    assert reach(0.005, 0, 0) > 59
    assert reach(0.005, 0.7, 0) < 55


def test_trajectory_kernel_has_the_moments_of_its_path():
    path = trajectory(8, 40.0, **FORCES)
    xx, yy, _ = moments(trajectory_kernel(8, 40.0, 1.0, **FORCES))
    centre = (path.real.max() + path.real.min()) / 2
    assert abs(xx - np.mean((path.real - centre) ** 2)) < 0.26  # a bilinear splat adds at most a quarter
    assert yy > 0


def test_short_exposure_is_a_short_path():
    kernels = [trajectory_kernel(8, 60.0, exposure, **FORCES) for exposure in (0.01, 0.1, 0.5, 1.0)]
    widths = [deviation_px(kernel) for kernel in kernels]
    assert widths[0] < widths[1] < widths[2]
    assert len(kernels[0]) <= 5


def test_wiener_kernel_undoes_its_gaussian_where_noise_is_small():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.random((64, 64)), (0, 0), 2.5, borderType=cv2.BORDER_REFLECT_101)
    blurred = cv2.filter2D(image, -1, gaussian_kernel(17, 1.0).double().numpy())
    restored = cv2.filter2D(blurred, -1, wiener_kernel(1.0, 1e-3).double().numpy())
    assert np.abs(restored - image)[16:-16, 16:-16].mean() < 0.2 * np.abs(blurred - image)[16:-16, 16:-16].mean()


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_wiener_kernel_is_the_filter_in_the_frequency_domain(sigma):
    image = np.random.default_rng(0).random((256, 256))
    kernel = gaussian_kernel(65, sigma).double().numpy()
    padded = np.zeros_like(image)
    padded[:65, :65] = kernel
    spectrum = np.fft.fft2(np.roll(padded, (-32, -32), (0, 1)))
    wiener = np.conj(spectrum) / (np.abs(spectrum) ** 2 + 0.006)
    expected = np.fft.ifft2(np.fft.fft2(image) * wiener).real * 1.006  # brightness is kept
    got = cv2.filter2D(image, -1, wiener_kernel(sigma, 0.006).double().numpy())
    np.testing.assert_allclose(got[100:-100, 100:-100], expected[100:-100, 100:-100], atol=2e-3)


def test_deviation_is_that_of_the_gaussian():
    assert abs(deviation_px(gaussian_kernel(41, 3.0, 4.0, 20)) - math.sqrt(12.5)) < 1e-3
    assert deviation_px(gaussian_kernel(5, 0)) == 0
