"""BT.601 studio YCbCr: closed-form colours, scikit-image, and the published numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr

from uir.layers.color import rgb_to_y, rgb_to_ycbcr, ycbcr_to_rgb

FIXTURE = Path(__file__).resolve().parents[2] / "../shared/fixtures/degradations/ycbcr/io.npz"


@pytest.fixture
def image():
    return torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("rgb", "ycbcr"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((1, 1, 1), (235, 128, 128)),
        ((0, 0, 1), (40.966, 240, 109.786)),
        ((1, 0, 0), (81.481, 90.203, 240)),
    ],
)
def test_primary_colours_have_the_levels_of_the_standard(rgb, ycbcr):
    pixel = torch.tensor(rgb, dtype=torch.float64).view(3, 1, 1)
    levels = rgb_to_ycbcr(pixel).flatten() * 255
    torch.testing.assert_close(levels, torch.tensor(ycbcr, dtype=torch.float64), atol=1e-9, rtol=0)


def test_equals_scikit_image(image):
    reference = rgb2ycbcr(image.double().numpy(), channel_axis=1) / 255
    np.testing.assert_allclose(rgb_to_ycbcr(image.double()).numpy(), reference, atol=1e-9)


def test_luma_is_the_first_channel(image):
    torch.testing.assert_close(rgb_to_y(image.double()), rgb_to_ycbcr(image.double())[:, :1], atol=1e-12, rtol=0)


def test_inverse_gives_the_image_back(image):
    torch.testing.assert_close(ycbcr_to_rgb(rgb_to_ycbcr(image.double())), image.double(), atol=1e-12, rtol=0)


def test_one_image_and_a_batch_agree_in_any_memory_layout(image):
    channels_last = image.to(memory_format=torch.channels_last)
    torch.testing.assert_close(rgb_to_ycbcr(channels_last)[1], rgb_to_ycbcr(image[1]))


def test_gradient_of_luma_is_the_weight_of_its_channel(image):
    image.requires_grad_()
    rgb_to_y(image).sum().backward()
    weights = torch.tensor([65.481, 128.553, 24.966]) / 255
    torch.testing.assert_close(image.grad, weights.view(3, 1, 1).expand_as(image))


@pytest.mark.parametrize("function", [rgb_to_ycbcr, rgb_to_y, ycbcr_to_rgb])
@pytest.mark.parametrize("wrong", [torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4), torch.zeros(3, 4)])
def test_other_than_float_rgb_is_refused(function, wrong):
    with pytest.raises(ValueError, match="expected a float image"):
        function(wrong)


@pytest.mark.skipif(not FIXTURE.exists(), reason="../shared/fixtures is absent")
def test_equals_the_published_numbers():
    stored = np.load(FIXTURE)
    rgb = torch.from_numpy(stored["in_uint8_hwc"]).permute(2, 0, 1).float() / 255
    full = rgb_to_ycbcr(rgb).permute(1, 2, 0).numpy()
    luma = rgb_to_y(rgb)[0].numpy()
    np.testing.assert_allclose(full, stored["rgb2ycbcr_full_float"], atol=1e-6)
    np.testing.assert_allclose(luma, stored["rgb2ycbcr_y_float"], atol=1e-6)
    np.testing.assert_array_equal((full * 255).round(), stored["rgb2ycbcr_full_uint8"])
    np.testing.assert_array_equal((luma * 255).round(), stored["rgb2ycbcr_y_uint8"])
