"""Motion blur and the Gaussian family."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from uir.degradations.base import replay
from uir.degradations.blur_degradation import (
    AnisotropicGaussianBlur,
    GeneralizedGaussianBlur,
    IsotropicGaussianBlur,
    KernelDegradation,
    MotionBlur,
    PlateauBlur,
    kernel_of,
)
from uir.degradations.filters import filter2d
from uir.degradations.kernels import gaussian_kernel, line_kernel
from uir.registry import DEGRADATION_REGISTRY

IMAGE = torch.rand(3, 40, 52, generator=torch.Generator().manual_seed(0))
KERNEL_OPS = [
    op
    for op in map(DEGRADATION_REGISTRY.get, DEGRADATION_REGISTRY.keys())
    if isinstance(op, type) and issubclass(op, KernelDegradation)
]
BLURS = [IsotropicGaussianBlur, AnisotropicGaussianBlur, GeneralizedGaussianBlur, PlateauBlur]


@pytest.mark.parametrize(("length", "angle"), [(5, 0), (12.5, 30), (25, -70)])
def test_blur_is_the_mean_over_the_path(length, angle):
    kernel = line_kernel(length, angle).numpy()
    expected = np.stack([ndimage.correlate(plane, kernel, mode="mirror") for plane in IMAGE.double().numpy()])
    result = MotionBlur(length=length, angle=angle)(IMAGE, 0)[0]
    np.testing.assert_allclose(result.numpy(), expected, atol=4e-6)


def test_horizontal_blur_is_a_moving_average():
    expected = ndimage.uniform_filter1d(IMAGE.numpy(), 9, axis=2, mode="mirror")
    np.testing.assert_allclose(MotionBlur(length=9, angle=0)(IMAGE, 0)[0].numpy(), expected, atol=1e-6)


def test_length_one_is_the_identity():
    assert torch.equal(MotionBlur(length=1, angle=33)(IMAGE, 0)[0], IMAGE)


def test_there_is_no_field_and_no_seed():
    assert set(MotionBlur().sample(0, (8, 8))) == {"length_px", "angle_deg"}


@pytest.mark.parametrize(("length", "sigma"), [(21, 3), (31, 5), (31, 8), (31, 12), (41, 15)])
def test_weighted_path_is_a_truncated_gaussian(length, sigma):
    offsets = np.arange(length) - length // 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    np.testing.assert_allclose(line_kernel(length, 0, sigma)[length // 2], weights / weights.sum(), atol=1e-7)
    torch.testing.assert_close(line_kernel(length, 90, sigma), line_kernel(length, 0, sigma).T, rtol=0, atol=1e-7)


@pytest.mark.parametrize("angle", [0, 20, 45, -70])
def test_weighted_path_deviates_by_sigma_in_its_direction(angle):
    kernel = line_kernel(41, angle, 4.0).double()
    offsets = torch.arange(kernel.shape[0], dtype=torch.float64) - kernel.shape[0] // 2
    radians = math.radians(angle)
    along = offsets[None, :] * math.cos(radians) - offsets[:, None] * math.sin(radians)
    assert (kernel * along**2).sum().sqrt().item() == pytest.approx(4, rel=0.02)


def test_weights_are_recorded_where_there_are_some():
    step = MotionBlur(length=31, angle=20, sigma=5).sample(0, (8, 8))
    assert step == {"length_px": 31, "angle_deg": 20, "sigma_px": 5}
    old = {"length_px": 31.0, "angle_deg": 20.0}
    assert torch.equal(MotionBlur.kernel(old), line_kernel(31, 20))
    assert MotionBlur.severity({"length_px": 21, "sigma_px": 3}) < MotionBlur.severity({"length_px": 21})
    with pytest.raises(ValueError, match=r"MotionBlur\.sigma: must be at least 0\.1"):
        MotionBlur(sigma=0)


def test_length_below_a_pixel_is_refused():
    with pytest.raises(ValueError, match=r"MotionBlur\.length: must be at least 1, got 0"):
        MotionBlur(length=[0, 5])


@pytest.mark.parametrize("sigma", [0.6, 1.7, 3.0])
def test_isotropic_blur_is_scipys_gaussian(sigma):
    expected = [ndimage.gaussian_filter(p, sigma, mode="mirror", radius=10) for p in IMAGE.double().numpy()]
    got = IsotropicGaussianBlur(sigma=sigma, kernel_size=21)(IMAGE, 0)[0]
    np.testing.assert_allclose(got.numpy(), expected, atol=4e-6)


def test_anisotropic_blur_filters_with_its_recorded_kernel():
    result, record = AnisotropicGaussianBlur()(IMAGE, 3)
    step = record.steps[0]
    kernel = gaussian_kernel(step["kernel_size"], step["sigma_x_px"], step["sigma_y_px"], step["angle_deg"]).numpy()
    expected = [ndimage.correlate(plane, kernel, mode="mirror") for plane in IMAGE.double().numpy()]
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("op", BLURS)
def test_no_width_is_no_blur(op):
    name = "sigma" if op is IsotropicGaussianBlur else "sigma_x"
    torch.testing.assert_close(op(**{name: 0})(IMAGE, 0)[0], IMAGE, rtol=0, atol=1e-6)


@pytest.mark.parametrize("op", KERNEL_OPS, ids=lambda op: op.__name__)
def test_constant_image_stays_constant(op):
    flat = torch.full((3, 30, 30), 0.3)
    result = op(**op.severities[1])(flat, 1)[0]
    torch.testing.assert_close(result, flat, rtol=0, atol=1e-5 if op.family == "sharpening" else 2e-6)


@pytest.mark.parametrize("op", KERNEL_OPS, ids=lambda op: op.__name__)
def test_kernel_of_a_record_is_what_was_applied(op):
    result, record = op(**op.severities[0])(IMAGE, 1)
    kernel = kernel_of(record.steps[0])
    assert torch.equal(result, filter2d(IMAGE, kernel).clamp(0, 1))


def test_kernel_of_other_ops_is_refused():
    for name in ("GaussianNoise", "NoSuchOp"):
        with pytest.raises(ValueError, match=f"kernel_of: {name} does not filter with one kernel"):
            kernel_of({"op": name})


@pytest.mark.parametrize("op", KERNEL_OPS, ids=lambda op: op.__name__)
def test_severity_rises_over_the_examples(op):
    first, second, third = (op.severity(op(**example).sample(0, (64, 64))) for example in op.severities)
    assert 0 < first < second < third <= 1


@pytest.mark.parametrize("op", KERNEL_OPS, ids=lambda op: op.__name__)
def test_each_image_of_a_batch_with_its_own_parameters(op):
    blur = op(**op.severities[0])
    images, params = torch.stack([IMAGE, IMAGE.flip(1)]), [blur.sample(seed, (40, 52)) for seed in (1, 2)]
    expected = torch.stack([op.apply(image, own) for image, own in zip(images, params, strict=True)])
    torch.testing.assert_close(op.apply_each(images, params), expected, rtol=0, atol=1e-5)


def test_sides_are_drawn_among_odd_numbers():
    sides = {IsotropicGaussianBlur(kernel_size=[7, 13]).sample(seed, (8, 8))["kernel_size"] for seed in range(60)}
    assert sides == {7, 9, 11, 13}


@pytest.mark.parametrize("none", [0, None])
def test_side_follows_from_sigma(none):
    assert IsotropicGaussianBlur(sigma=1.3, kernel_size=none).sample(0, (8, 8))["kernel_size"] == 13
    assert AnisotropicGaussianBlur(sigma_x=0.5, sigma_y=2, kernel_size=none).sample(0, (8, 8))["kernel_size"] == 17


@pytest.mark.parametrize("op", [GeneralizedGaussianBlur, PlateauBlur])
def test_isotropic_probability_is_how_often(op):
    drawn = [op(isotropic_probability=0.8).sample(seed, (8, 8)) for seed in range(800)]
    isotropic = [p["sigma_x_px"] == p["sigma_y_px"] and p["angle_deg"] == 0 for p in drawn]
    assert abs(np.mean(isotropic) - 0.8) < 0.05


def test_half_of_the_shapes_are_peaked():
    betas = np.array([GeneralizedGaussianBlur(beta=[0.5, 4]).sample(seed, (8, 8))["beta"] for seed in range(800)])
    assert abs(np.mean(betas < 1) - 0.5) < 0.06
    assert betas.min() >= 0.5
    assert betas.max() <= 4
    assert abs(betas[betas > 1].mean() - 2.5) < 0.15


def test_edited_record_replays_with_the_new_width():
    _, record = IsotropicGaussianBlur(sigma=1.0)(IMAGE, 0)
    record.steps[0]["sigma_px"] = 2.0
    assert torch.equal(replay(record, IMAGE), IsotropicGaussianBlur(sigma=2.0)(IMAGE, 0)[0])


def test_angle_turns_the_blur():
    point = torch.zeros(1, 41, 41)
    point[0, 20, 20] = 1
    blurred = AnisotropicGaussianBlur(sigma_x=4, sigma_y=1, rotation=30)(point, 0)[0][0].double()
    y, x = torch.meshgrid(*[torch.arange(41.0, dtype=torch.float64) - 20] * 2, indexing="ij")
    xx, yy, xy = ((blurred * product).sum() for product in (x * x, y * y, x * y))
    assert abs(math.degrees(0.5 * math.atan2(2 * xy, xx - yy)) - 30) < 1


@pytest.mark.parametrize(
    ("op", "arguments", "message"),
    [
        (IsotropicGaussianBlur, {"sigma": -1}, r"IsotropicGaussianBlur\.sigma: must be at least 0"),
        (IsotropicGaussianBlur, {"kernel_size": 8}, r"kernel_size: the sides of a kernel are odd, got 8"),
        (IsotropicGaussianBlur, {"kernel_size": [0, 9]}, r"kernel_size: a range starts at 1 or above"),
        (IsotropicGaussianBlur, {"kernel_size": {"choice": [7, 10]}}, r"kernel_size: the sides of a kernel are odd"),
        (AnisotropicGaussianBlur, {"sigma_y": [3, 1]}, r"AnisotropicGaussianBlur\.sigma_y: the range"),
        (PlateauBlur, {"beta": 0}, r"PlateauBlur\.beta: must be at least 0\.05"),
        (PlateauBlur, {"isotropic_probability": 2}, r"isotropic_probability: must be between 0 and 1"),
    ],
)
def test_mistakes_are_named(op, arguments, message):
    with pytest.raises(ValueError, match=message):
        op(**arguments)


def test_variance_instead_of_sigma_is_drawn_evenly():
    op = AnisotropicGaussianBlur(sigma_x=[0, 2], even_in="variance")
    drawn = [op.sample(seed, (8, 8))["sigma_x_px"] for seed in range(1000)]
    assert sum(sigma**2 for sigma in drawn) / 1000 == pytest.approx(2, rel=0.05)
    with pytest.raises(ValueError, match=r"even_in: expected sigma or variance, got 'area'"):
        AnisotropicGaussianBlur(even_in="area")
