"""Deformable convolution against a plain convolution, a loop, and the stored definition."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from uir.layers import deformable
from uir.layers.deformable import GuidedDeformConv2d, modulated_deform_conv2d


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    """Without torchvision's operator, which has a test of its own."""
    monkeypatch.setattr(deformable, "_torchvision_op", lambda: None)


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 1, 1), (2, 1, 1), (1, 2, 2), (1, 0, 1)])
def test_without_offsets_it_is_a_convolution(stride, padding, dilation):
    x, weight, bias = random(2, 3, 9, 11), random(4, 3, 3, 3, seed=1), random(4, seed=2)
    expected = F.conv2d(x, weight, bias, stride, padding, dilation)
    rows, columns = expected.shape[-2:]
    still, all_of_it = torch.zeros(2, 18, rows, columns), torch.ones(2, 9, rows, columns)
    got = modulated_deform_conv2d(x, still, all_of_it.double(), weight, bias, stride, padding, dilation)
    torch.testing.assert_close(got, expected)


def value_at(plane, y, x):
    """Bilinear, zero outside."""
    total = 0.0
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * float(plane[row, column])
    return total


def test_every_point_samples_where_it_is_told_to():
    x, weight = random(1, 2, 5, 6), random(1, 2, 3, 3, seed=1)
    offset, mask = random(1, 18, 5, 6, seed=2), random(1, 9, 5, 6, seed=3).sigmoid()
    got = modulated_deform_conv2d(x, offset, mask, weight, padding=1)
    for row, column in [(0, 0), (2, 3), (4, 5), (1, 4)]:
        expected = 0.0
        for point in range(9):
            y = row - 1 + point // 3 + float(offset[0, 2 * point, row, column])
            along = column - 1 + point % 3 + float(offset[0, 2 * point + 1, row, column])
            for channel in range(2):
                sample = value_at(x[0, channel], y, along) * float(mask[0, point, row, column])
                expected += float(weight[0, channel, point // 3, point % 3]) * sample
        assert float(got[0, 0, row, column]) == pytest.approx(expected)


def test_gives_the_stored_definition(shared):
    stored = np.load(shared / "fixtures/airnet/modulated_deform_conv_definition/io.npz")
    inputs = [torch.from_numpy(stored[key]) for key in ("in_x", "in_offset", "in_mask", "weight", "bias")]
    got = modulated_deform_conv2d(*inputs, padding=1)
    torch.testing.assert_close(got, torch.from_numpy(stored["out"]), atol=1e-5, rtol=1e-5)


def test_torchvision_agrees_where_its_operator_runs(monkeypatch):
    monkeypatch.undo()
    operator = deformable._torchvision_op()
    if operator is None:
        pytest.skip("torchvision's compiled operators are absent")
    x, weight = random(1, 2, 5, 6).float(), random(1, 2, 3, 3, seed=1).float()
    offset, mask = random(1, 18, 5, 6, seed=2).float(), random(1, 9, 5, 6, seed=3).sigmoid().float()
    compiled = modulated_deform_conv2d(x, offset, mask, weight, padding=1)
    monkeypatch.setattr(deformable, "_torchvision_op", lambda: None)
    torch.testing.assert_close(compiled, modulated_deform_conv2d(x, offset, mask, weight, padding=1))


def test_offsets_of_another_size_are_refused():
    x, weight = torch.zeros(1, 2, 5, 6), torch.zeros(1, 2, 3, 3)
    with pytest.raises(ValueError, match=r"expected offset \[1, 18, 5, 6\], got \[1, 9, 5, 6\]"):
        modulated_deform_conv2d(x, torch.zeros(1, 9, 5, 6), torch.zeros(1, 9, 5, 6), weight, padding=1)
    with pytest.raises(ValueError, match=r"expected mask \[1, 9, 5, 6\], got \[1, 9, 5, 5\]"):
        modulated_deform_conv2d(x, torch.zeros(1, 18, 5, 6), torch.zeros(1, 9, 5, 5), weight, padding=1)


def test_a_guided_one_starts_as_a_plain_convolution_of_half_the_strength():
    layer = GuidedDeformConv2d(3, guide_channels=2).double()
    x, guide = random(2, 3, 6, 7), random(2, 2, 6, 7, seed=1)
    expected = 0.5 * F.conv2d(x, layer.weight, padding=1)
    torch.testing.assert_close(layer(x, guide), expected)
