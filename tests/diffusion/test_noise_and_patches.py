"""Noise that is the same in any batch and tile, and estimates that are averaged over patches."""

import pytest
import torch

from uir.diffusion.noise import NoiseField
from uir.diffusion.patches import averaged, corners, coverage, places


def test_a_part_of_the_noise_is_that_of_the_whole():
    field = NoiseField(3, ("a", "b"), 2)
    whole = field.part(0, 0, 150, 130)
    torch.testing.assert_close(field.part(60, 50, 90, 70), whole[..., 60:150, 50:120], atol=0, rtol=0)
    assert torch.equal(NoiseField(3, ("b",), 2).part(0, 0, 9, 9), whole[1:, :, :9, :9])


def test_noise_depends_on_seed_name_purpose_and_step_and_is_normal():
    field = NoiseField(3, ("a",), 1)
    others = [NoiseField(4, ("a",), 1), NoiseField(3, ("b",), 1), NoiseField(3, ("a",), 1, "other")]
    first = field.part(0, 0, 128, 128)
    for other in (*(field.part(0, 0, 128, 128) for field in others), field.part(0, 0, 128, 128, step=1)):
        assert abs(float((first * other).mean())) < 0.05
    assert float(first.mean()) == pytest.approx(0, abs=0.03)
    assert float(first.std()) == pytest.approx(1, abs=0.03)
    blocks = first[..., :64], first[..., 64:]
    assert abs(float((blocks[0] * blocks[1]).mean())) < 0.05


@pytest.mark.parametrize(("length", "expected"), [(8, [0]), (16, [0, 4, 8]), (15, [0, 4, 7]), (9, [0, 1])])
def test_the_last_patch_ends_at_the_border(length, expected):
    assert corners(length, 8, 4) == expected


@pytest.mark.parametrize(("patch", "stride"), [(8, 9), (8, 0), (20, 4)])
def test_refuses_patches_that_leave_gaps(patch, stride):
    with pytest.raises(ValueError, match="do not cover 16 pixels"):
        corners(16, patch, stride)


def test_every_pixel_is_covered():
    count = coverage((13, 18), 8, 3)
    assert float(count.min()) >= 1
    assert float(count.sum()) == 64 * len(places((13, 18), 8, 3))


def test_estimates_are_averaged_in_every_pixel_whatever_the_group():
    state, degraded = torch.rand(2, 2, 3, 11, 14)
    asked = []

    def estimate(part, of_degraded):
        asked.append(len(part))
        return part + of_degraded + part.mean((1, 2, 3), keepdim=True)

    expected = torch.zeros_like(state)
    for rows, columns in places((11, 14), 8, 3):
        part = state[..., rows, columns]
        expected[..., rows, columns] += part + degraded[..., rows, columns] + part.mean((1, 2, 3), keepdim=True)
    for group in (1, 4, 64):
        got = averaged(estimate, state, degraded, 8, 3, group)
        torch.testing.assert_close(got, expected / coverage((11, 14), 8, 3))
    assert max(asked) == 2 * len(places((11, 14), 8, 3))
