"""Padding to a multiple and cropping back."""

import pytest
import torch
from torch.nn import functional as F

from uir.layers.padding import crop, multiple_of, outer_multiple_of, pad_to_multiple, padded_for


def test_reflects_at_the_right_and_the_bottom():
    image = torch.rand(2, 3, 10, 13)
    torch.testing.assert_close(pad_to_multiple(image, 8), F.pad(image, (0, 3, 0, 6), mode="reflect"))


def test_an_image_that_fits_is_returned_as_it_is():
    image = torch.rand(1, 3, 16, 8)
    assert pad_to_multiple(image, 8) is image


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (20, 2)])
def test_an_image_smaller_than_its_padding_repeats_its_edge(size):
    image = torch.rand(1, 3, *size)
    padded = pad_to_multiple(image, 16)
    assert all(side % 16 == 0 for side in padded.shape[-2:])
    torch.testing.assert_close(padded[..., -1, -1], image[..., -1, -1])


def test_zeros_where_asked():
    padded = pad_to_multiple(torch.ones(1, 1, 3, 3), 4, mode="constant")
    assert padded.sum() == 9


def test_crop_undoes_padding():
    image = torch.rand(1, 3, 10, 13)
    assert torch.equal(crop(pad_to_multiple(image, 8), 10, 13), image)


def test_refuses_a_multiple_below_one():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        pad_to_multiple(torch.rand(1, 3, 4, 4), 0)


def test_a_network_says_the_multiple_that_it_needs():
    image, network = torch.rand(1, 3, 13, 15), torch.nn.Identity()
    assert padded_for(network, image) is image
    network.pad_multiple = 8
    assert padded_for(network, image).shape[-2:] == (16, 16)


def test_a_network_that_pads_by_itself_needs_no_padding_outside():
    network = torch.nn.Identity()
    assert (multiple_of(network), outer_multiple_of(network)) == (1, 1)
    network.pad_multiple = 8
    assert (multiple_of(network), outer_multiple_of(network)) == (8, 8)
    network.pads_itself = True
    assert (multiple_of(network), outer_multiple_of(network)) == (8, 1)
