"""Crops and flips, against BasicSR's."""

import random
from itertools import product

import numpy as np
import pytest

from uir.data.augment import Flips, apply_flips, crop_pair, draw_corner, draw_flips

IMAGE = np.random.default_rng(0).random((6, 8, 3)).astype(np.float32)


def test_flips_are_basicsr_s(basicsr):
    transforms = basicsr.data.transforms
    seen = set()
    for seed in range(40):
        random.seed(seed)
        theirs, status = transforms.augment(IMAGE.copy(), hflip=True, rotation=True, return_status=True)
        np.testing.assert_array_equal(apply_flips(IMAGE, Flips(*status)), theirs)
        seen.add(status)
    assert len(seen) == 8


def test_crops_are_basicsr_s(basicsr):
    transforms = basicsr.data.transforms
    gt = np.random.default_rng(1).random((12, 16, 3)).astype(np.float32)
    for seed in range(10):
        random.seed(seed)
        their_gt, their_lq = transforms.paired_random_crop(gt, IMAGE, 8, 2)
        random.seed(seed)
        corner = (random.randint(0, 2), random.randint(0, 4))
        our_gt, our_lq = crop_pair(gt, IMAGE, corner, lq_patch=4, scale=2)
        np.testing.assert_array_equal(our_gt, their_gt)
        np.testing.assert_array_equal(our_lq, their_lq)


def test_each_combination_of_flips_is_drawn_about_equally_often():
    counts = dict.fromkeys(product((False, True), repeat=3), 0)
    for seed in range(1600):
        counts[tuple(draw_flips(seed, True, True))] += 1
    assert all(140 < count < 260 for count in counts.values())  # 200 expected, standard deviation 13


def test_a_flip_that_is_off_never_happens():
    assert {draw_flips(seed, False, False) for seed in range(50)} == {Flips(False, False, False)}
    assert not any(draw_flips(seed, True, False)[1:] != (False, False) for seed in range(50))


def test_corners_cover_all_positions_and_no_more():
    corners = {draw_corner(seed, 5, 6, 4) for seed in range(200)}
    assert corners == set(product(range(2), range(3)))


def test_an_image_smaller_than_the_patch_is_refused():
    with pytest.raises(ValueError, match=r"5x6 .* smaller than a patch of 6x6"):
        draw_corner(0, 5, 6, 6)
