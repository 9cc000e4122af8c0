"""Blur kernels: [K, K] float32 on the CPU, K odd, summing to 1, in the orientation for correlation.

Angles of the Gaussian family follow the papers: the x axis is turned towards the y axis, and rows count downwards, so
a positive angle is clockwise in the displayed image. A line's angle is counter-clockwise.
"""

from __future__ import annotations

import cmath
import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from uir.core.seeds import numpy_generator

SMALLEST_SIGMA = 1e-3  # in pixels: an exact identity, and no division by zero
TRAJECTORY_STEPS = 2000


def gaussian_kernel_1d(side: int, sigma_px: float) -> Tensor:
    """[side] Gaussian samples about the centre that sum to 1; `side` odd."""
    offsets = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    weights = torch.exp(-(offsets**2) / (2 * max(sigma_px, SMALLEST_SIGMA) ** 2))
    return (weights / weights.sum()).float()


def gaussian_kernel(side: int, sigma_x_px: float, sigma_y_px: float | None = None, angle_deg: float = 0.0) -> Tensor:
    """Bivariate Gaussian of covariance R·diag(σx², σy²)·Rᵀ: exp(−m/2), m the squared Mahalanobis distance.

    The two σ are standard deviations along the turned axes, even if papers call them λ (SRMD, DASR).

    Args:
        side: K, odd.
        sigma_x_px, sigma_y_px: at least 0 (a line, or the identity); isotropic if `sigma_y_px` is None.
        angle_deg: angle of the first axis, clockwise in the displayed image.
    """
    squared = _mahalanobis(side, sigma_x_px, sigma_x_px if sigma_y_px is None else sigma_y_px, angle_deg)
    return _normalised(torch.exp(-0.5 * squared))


def generalized_gaussian_kernel(
    side: int, sigma_x_px: float, sigma_y_px: float, angle_deg: float, beta: float
) -> Tensor:
    """Generalised Gaussian exp(−m^β/2) (Real-ESRGAN, Wang et al., ICCVW 2021, section 3.1); β = 1 is the Gaussian."""
    return _normalised(torch.exp(-0.5 * _mahalanobis(side, sigma_x_px, sigma_y_px, angle_deg) ** beta))


def plateau_kernel(side: int, sigma_x_px: float, sigma_y_px: float, angle_deg: float, beta: float) -> Tensor:
    """Plateau-shaped 1 / (1 + m^β) (Real-ESRGAN, Wang et al., ICCVW 2021, section 3.1); the larger β, the flatter."""
    return _normalised(1 / (1 + _mahalanobis(side, sigma_x_px, sigma_y_px, angle_deg) ** beta))


def sinc_kernel(side: int, omega_rad: float) -> Tensor:
    """Circular low-pass ω·J₁(ω·r) / (2π·r), which rings (Real-ESRGAN, equation 6).

    Args:
        side: K, odd.
        omega_rad: cutoff frequency in (0, π] radians per pixel.
    """
    y, x = _offsets(side)
    squares, places = np.unique((x * x + y * y).numpy(), return_inverse=True)
    distances = np.sqrt(squares[1:])
    values = omega_rad * bessel_j1(omega_rad * distances) / (2 * math.pi * distances)
    values = np.concatenate([[omega_rad**2 / (4 * math.pi)], values])  # the first value is the limit r → 0
    return _normalised(torch.from_numpy(values[places.reshape(side, side)]))


def bessel_j1(x: np.ndarray) -> np.ndarray:
    """The Bessel function J₁ to full precision (torch's has six correct digits): 1/2π · ∫ cos(τ − x·sin τ) dτ.

    The trapezoid rule converges geometrically on a period, if it has more points than x.
    """
    points = 64 + 2 * math.ceil(x.max(initial=0))
    tau = np.arange(points) * (2 * math.pi / points)
    return np.asarray(np.cos(tau - x[:, None] * np.sin(tau)).mean(1))


def disk_kernel(radius_px: float, alias_px: float) -> Tensor:
    """Uniform disk x² + y² ≤ r² with an edge softened by a small Gaussian (ImageNet-C, Hendrycks & Dietterich, 2019).

    Args:
        radius_px: r, at least 0.
        alias_px: σ of the Gaussian, which has 3×3 samples up to a radius of 8 and 5×5 above, as published.
    """
    soft = 1 if radius_px <= 8 else 2
    side = 2 * (math.ceil(radius_px) + soft) + 1
    y, x = _offsets(side)
    disk = (x * x + y * y <= radius_px**2).double()
    profile = gaussian_kernel_1d(2 * soft + 1, alias_px).double().tolist()
    for axis in (0, 1):
        disk = sum(weight * disk.roll(offset - soft, axis) for offset, weight in enumerate(profile))
    return _normalised(disk)


def line_kernel(length_px: float, angle_deg: float, sigma_px: float | None = None) -> Tensor:
    """An antialiased straight line through the centre of a [K, K] kernel that sums to 1.

    Each column (each row, for a steep line) spreads its weight over the two pixels nearest to the line, with more on
    the nearer one (Wu, SIGGRAPH 1991), so that the line is equally bright at any angle; the ends fade over one pixel. A
    horizontal line of odd length is an exact box; length 1 is the identity.

    Args:
        length_px: length along the line, at least 1.
        angle_deg: counter-clockwise from the x axis in the displayed image (90 is vertical).
        sigma_px: standard deviation of Gaussian weights along the line, above 0; None: equal weights.
    """
    radius = math.ceil((length_px - 1) / 2)
    angle = math.radians(angle_deg)
    run, rise = math.cos(angle), -math.sin(angle)  # rows count downwards
    steep = abs(rise) > abs(run)
    if steep:
        run, rise = rise, run
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    along = (length_px * abs(run) / 2 - offsets.abs() + 0.5).clamp(0, 1)
    if sigma_px is not None:
        along = along * torch.exp(-0.5 * (offsets / run / sigma_px) ** 2)
    across = (1 - (offsets[:, None] - offsets[None, :] * (rise / run)).abs()).clamp(min=0)
    kernel = across * along
    return _normalised(kernel.T if steep else kernel)


@lru_cache(maxsize=32)
def trajectory_kernel(
    seed: int,
    length_px: float,
    exposure: float,
    anxiety: float,
    centripetal: float,
    shake_probability: float,
    shake_px: float,
) -> Tensor:
    """The path of a shaking camera during a part of its motion (Boracchi & Foi, TIP 2012; simulator of DeblurGAN).

    A particle of constant speed is moved by Gaussian shakes, is pulled back to its start, and sometimes almost reverses
    its direction. Its path is drawn bilinearly; the box around it is centred in the kernel.

    Args:
        seed: seed of the random walk.
        length_px: length of the whole path.
        exposure: fraction of the path that is exposed, in (0, 1].
        anxiety: strength of the three forces, at least 0 (a straight line).
        centripetal, shake_probability, shake_px: parameters of the forces.
    """
    path = trajectory(seed, length_px, anxiety, centripetal, shake_probability, shake_px)
    path = path[: max(1, round(exposure * len(path)))]
    x, y = ((p - (p.min() + p.max()) / 2) for p in (path.real, path.imag))
    radius = max(math.ceil(np.abs(x).max()), math.ceil(np.abs(y).max()))
    side = 2 * radius + 3  # bilinear drawing reaches one pixel further
    kernel = np.zeros(side * side)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    for right in (0, 1):
        for down in (0, 1):
            weight = np.abs(1 - right - (x - column)) * np.abs(1 - down - (y - row))
            place = (row + down + radius + 1) * side + column + right + radius + 1
            kernel += np.bincount(place, weight, minlength=side * side)
    return _normalised(torch.from_numpy(kernel.reshape(side, side)))


def trajectory(
    seed: int, length_px: float, anxiety: float, centripetal: float, shake_probability: float, shake_px: float
) -> np.ndarray:
    """The camera's positions x + iy in pixels at 2000 times, the first at 0; see `trajectory_kernel`."""
    generator = numpy_generator(seed, "trajectory")
    steps = TRAJECTORY_STEPS - 1
    stride = length_px / steps
    velocity = cmath.rect(stride, generator.uniform(0, 2 * math.pi))
    thrown = (generator.random(steps) < shake_probability * anxiety).tolist()
    turns = (2 * np.exp(1j * (math.pi + generator.uniform(-0.5, 0.5, steps)))).tolist()
    shakes = (shake_px * (generator.standard_normal(steps) + 1j * generator.standard_normal(steps))).tolist()
    path, place = [0j], 0j
    for throw, turn, shake in zip(thrown, turns, shakes, strict=True):
        change = anxiety * stride * (shake - centripetal * place)
        velocity += change + velocity * turn if throw else change
        velocity *= stride / abs(velocity) if velocity else 1
        place += velocity
        path.append(place)
    return np.array(path)


@lru_cache(maxsize=32)
def wiener_kernel(sigma_px: float, noise_ratio: float) -> Tensor:
    """A Wiener filter conj(H) / (|H|² + K) as a kernel, H a sampled Gaussian; it sums to 1, so brightness is kept.

    Args:
        sigma_px: σ of the Gaussian that is deconvolved, above 0.
        noise_ratio: K, noise over signal power, above 0.
    """
    radius = math.ceil(16 * sigma_px)  # beyond this the response is below a thousandth
    grid = 4 * radius + 1
    gaussian = np.zeros(grid)
    gaussian[: 2 * radius + 1] = gaussian_kernel_1d(2 * radius + 1, sigma_px).double().numpy()
    spectrum = np.fft.fft(np.roll(gaussian, -radius)).real
    spectrum = spectrum[:, None] * spectrum[None, :]
    response = np.fft.fftshift(np.fft.ifft2(spectrum / (spectrum**2 + noise_ratio)).real)
    return _normalised(torch.from_numpy(response[radius : 3 * radius + 1, radius : 3 * radius + 1]))


def deviation_px(kernel: Tensor) -> float:
    """The width of a kernel: the root mean square of its standard deviations along two axes, in pixels."""
    weights = kernel.double().abs()
    weights = weights / weights.sum()
    y, x = _offsets(kernel.shape[-1])
    about_mean = ((p * p * weights).sum() - (p * weights).sum() ** 2 for p in (x, y))
    return math.sqrt(max(0.0, float(sum(about_mean))) / 2)


def _mahalanobis(side: int, sigma_x_px: float, sigma_y_px: float, angle_deg: float) -> Tensor:
    y, x = _offsets(side)
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    along = (cosine * x + sine * y) / max(sigma_x_px, SMALLEST_SIGMA)
    across = (cosine * y - sine * x) / max(sigma_y_px, SMALLEST_SIGMA)
    return along * along + across * across


def _offsets(side: int) -> tuple[Tensor, Tensor]:
    offsets = torch.arange(side, dtype=torch.float64) - side // 2
    return offsets[:, None].expand(side, side), offsets[None, :].expand(side, side)


def _normalised(kernel: Tensor) -> Tensor:
    return (kernel / kernel.sum()).float().contiguous()
