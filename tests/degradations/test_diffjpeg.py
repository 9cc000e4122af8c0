"""Differentiable JPEG: the codec on grey images, published numbers on colour ones, gradients."""

import cv2
import numpy as np
import pytest
import torch
from scipy.fft import dctn

from uir.degradations.diffjpeg import _dct_matrix, _mix_both, diff_jpeg, quality_to_factor, soft_round


def photograph(*shape: int, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(*shape[:-2], 6, 6, generator=torch.Generator().manual_seed(seed))
    batch = coarse if coarse.ndim == 4 else coarse[None]
    fine = torch.nn.functional.interpolate(batch, size=shape[-2:], mode="bicubic").clamp(0, 1)
    fine = ((fine + 0.05 * torch.randn(fine.shape, generator=torch.Generator().manual_seed(1))) * 255).round() / 255
    return fine.clamp(0, 1).view(shape)


def codec(image: torch.Tensor, quality: int) -> torch.Tensor:
    """libjpeg on [1, H, W] or [3, H, W] whole grey levels."""
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()[..., ::-1].copy()
    _, stream = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.atleast_3d(cv2.imdecode(stream, cv2.IMREAD_UNCHANGED))[..., ::-1].copy()
    return torch.from_numpy(decoded).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("quality", [5, 10, 30, 49, 50, 75, 95, 100])
@pytest.mark.parametrize("size", [(48, 64), (37, 51)])
def test_grey_images_are_those_of_the_codec(quality, size):
    image = photograph(1, *size)
    off = (diff_jpeg(image, quality, differentiable=False) - codec(image, quality)).abs() * 255
    # the codec's DCT is in whole numbers, so that a coefficient beside a half may be rounded to the other side
    assert (off <= 1.01).float().mean() > 0.85
    assert off.mean() < 1  # the transposed table is off by 4


def test_published_luminance_steps_are_further_from_the_codec():
    image = photograph(1, 64, 64)
    ours, published = (
        (diff_jpeg(image, 15, False, legacy) - codec(image, 15)).abs().mean() for legacy in (False, True)
    )
    assert ours < published / 5


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_colour_images_are_near_the_codec(quality):
    tint = torch.tensor([1.0, 0.8, 0.6]).view(3, 1, 1)  # even in hue: the codec interpolates chrominance, we repeat it
    image = (photograph(1, 48, 64) * tint * 255).round() / 255
    assert (diff_jpeg(image, quality, False) - codec(image, quality)).abs().mean() < 2 / 255


def test_dct_is_orthonormal_and_that_of_scipy():
    blocks = torch.rand(8, 8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = dctn(blocks.numpy(), axes=(0, 1), norm="ortho")
    np.testing.assert_allclose(_mix_both(blocks, _dct_matrix()).numpy(), expected, atol=1e-12)
    torch.testing.assert_close(_mix_both(_mix_both(blocks, _dct_matrix()), _dct_matrix().T), blocks)


@pytest.mark.parametrize(("quality", "factor"), [(1, 50), (25, 2), (50, 1), (75, 0.5), (95, 0.1), (100, 0)])
def test_quality_scales_the_tables_as_in_libjpeg(quality, factor):
    assert quality_to_factor(torch.tensor(float(quality), dtype=torch.float64)).item() == pytest.approx(factor)


def test_soft_rounding_is_near_rounding_and_has_its_derivative():
    x = torch.linspace(-3, 3, 301, dtype=torch.float64, requires_grad=True)
    rounded = soft_round(x)
    assert (rounded - torch.round(x)).abs().max() <= 0.125
    (gradient,) = torch.autograd.grad(rounded.sum(), x)
    torch.testing.assert_close(gradient, 3 * (x - torch.round(x)).detach() ** 2)


def test_gradients_are_those_of_finite_differences():
    image = photograph(1, 3, 16, 16).double() * 0.8 + 0.1
    image.requires_grad_()
    quality = torch.tensor([60.3], dtype=torch.float64, requires_grad=True)
    inputs = (image, quality)
    assert torch.autograd.gradcheck(lambda x, q: diff_jpeg(x, q), inputs, eps=1e-7, atol=1e-4, fast_mode=True)


def test_hard_rounding_stops_the_gradient():
    image = photograph(3, 16, 16).requires_grad_()
    diff_jpeg(image, 50, differentiable=False).sum().backward()
    assert image.grad.abs().max() == 0


@pytest.mark.parametrize("differentiable", [True, False])
def test_each_image_may_have_its_own_quality(differentiable):
    images, quality = photograph(3, 3, 21, 34), torch.tensor([10.0, 50.0, 95.0])
    together = diff_jpeg(images, quality, differentiable)
    for image, own, expected in zip(images, quality, together, strict=True):
        torch.testing.assert_close(diff_jpeg(image, own.item(), differentiable), expected, rtol=0, atol=1e-6)
    assert quality.tolist() == [10.0, 50.0, 95.0]  # the published code overwrites it


def test_best_quality_is_nearly_lossless_and_finite():
    image = photograph(1, 32, 32)
    for differentiable in (True, False):
        assert (diff_jpeg(image, 100, differentiable) - image).abs().max() < 2 / 255


def test_devices_other_than_the_cpu_mix_by_einsum():
    assert diff_jpeg(torch.empty(2, 3, 20, 30, device="meta"), 50).shape == (2, 3, 20, 30)


@pytest.mark.parametrize(
    ("image", "quality", "message"),
    [
        (torch.zeros(4, 8, 8), 50, r"expected \[B, 1 or 3, H, W\].*got shape \[4, 8, 8\]"),
        (torch.zeros(3, 8, 8), 0.5, "quality must be between 1 and 100, got 0.5"),
        (torch.zeros(2, 3, 8, 8), torch.tensor([50.0, 101.0]), "quality must be between 1 and 100"),
        (torch.zeros(2, 3, 8, 8), torch.tensor([50.0, 60.0, 70.0]), r"one for each of 2 images, got shape \[3\]"),
    ],
)
def test_mistakes_are_named(image, quality, message):
    with pytest.raises(ValueError, match=message):
        diff_jpeg(image, quality)
