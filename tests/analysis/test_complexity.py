"""Costs against closed forms."""

import pytest
import torch
from torch import nn

from uir.analysis.complexity import measure_complexity
from uir.inference.macs import count_macs


def two_convolutions():
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))


class Holding(nn.Module):
    """Holds 4 MiB, twice that for a moment, and never more."""

    def forward(self, lq):
        one = torch.ones(1 << 20)
        two = one + 1
        view = two.view(-1, 2)
        view.add_(1)
        del one, two
        view.sum()
        return lq


def test_parameters_and_macs_of_convolutions():
    found = measure_complexity(two_convolutions(), (20, 30), runs=2)
    assert found.parameters == (27 * 16 + 16) + (16 * 9 * 3 + 3)
    assert found.macs == 20 * 30 * (27 * 16 + 16 * 9 * 3)
    assert (found.size, found.device, found.runs) == ((20, 30), "cpu", 2)
    assert found.seconds > 0


def test_peak_memory_is_weights_and_the_tensors_held_at_once():
    net = two_convolutions()
    weights = 4 * sum(parameter.numel() for parameter in net.parameters())
    found = measure_complexity(net, (64, 64))
    assert found.peak_memory_mib * 2**20 == pytest.approx(weights + 2 * 16 * 64 * 64 * 4)
    assert measure_complexity(Holding(), (8, 8)).peak_memory_mib == pytest.approx(8, abs=1e-3)


def test_counting_leaves_a_network_in_training():
    net = two_convolutions().train()
    assert count_macs(net, torch.rand(2, 3, 8, 8)) == 2 * 64 * (27 * 16 + 16 * 9 * 3)
    assert net.training


def test_a_size_is_padded_to_the_network_s_multiple():
    net = two_convolutions()
    net.pad_multiple = 16
    assert measure_complexity(net, (17, 16), runs=1).macs == 2 * measure_complexity(net, (16, 16), runs=1).macs


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="size and runs of at least 1"):
        measure_complexity(two_convolutions(), (0, 8))


def test_a_network_of_one_channel_is_given_one():
    found = measure_complexity(nn.Conv2d(1, 4, 3, padding=1), (20, 30), runs=1)
    assert found.parameters == 9 * 4 + 4
    assert found.macs == 9 * 4 * 20 * 30
