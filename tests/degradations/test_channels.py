"""Colours and channels."""

import cv2
import numpy as np
import torch

from uir.degradations.channels import grey_plane, per_channel


def test_grey_is_opencvs():
    image = torch.rand(3, 9, 11, generator=torch.Generator().manual_seed(0))
    expected = cv2.cvtColor(image.permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2GRAY)
    np.testing.assert_allclose(grey_plane(image)[0].numpy(), expected, atol=1e-6)


def test_grey_of_one_channel_is_itself():
    image = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(grey_plane(image), image)


def test_a_colour_meets_any_number_of_channels():
    assert per_channel([0.1, 0.2, 0.6], 3).flatten().tolist() == [0.1, 0.2, 0.6]
    torch.testing.assert_close(per_channel([0.1, 0.2, 0.6], 1), torch.full((1, 1, 1), 0.3, dtype=torch.float64))
    assert per_channel(0.5, 3).shape == (1, 1, 1)
