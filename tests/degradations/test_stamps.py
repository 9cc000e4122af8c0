"""Shapes laid into a plane."""

import torch

from uir.degradations.stamps import stamp


def cone(radius):
    return lambda indices, dy, dx: (radius[indices, None, None] - (dy * dy + dx * dx).sqrt()).clamp(min=0)


def test_stamped_plane_is_the_maximum_of_all_shapes():
    draws = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    centres, radius = draws[:, :2] * torch.tensor([40.0, 50.0]) - 5, 1 + 6 * draws[:, 2]
    rows, columns = torch.arange(30.0)[:, None], torch.arange(40.0)[None, :]
    expected = torch.zeros(30, 40)
    for (y, x), r in zip(centres, radius, strict=True):
        expected = torch.maximum(expected, r - ((rows - y).square() + (columns - x).square()).sqrt())
    torch.testing.assert_close(stamp((30, 40), centres, radius + 1, cone(radius)), expected, rtol=0, atol=1e-5)


def test_no_shapes_leave_an_empty_plane():
    assert not stamp((3, 4), torch.zeros(0, 2), torch.zeros(0), cone(torch.zeros(0))).any()
