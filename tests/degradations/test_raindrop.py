"""Raindrops: where they are and what is seen in them."""

import math

import pytest
import torch

from uir.degradations.raindrop_degradation import Raindrops, drops_of

SIZE = (160, 200)
IMAGE = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))


def test_dry_pixels_are_untouched_and_wet_ones_are_not():
    wet, record = Raindrops()(IMAGE, 2)
    drops = drops_of(record.steps[0], SIZE)
    changed = (wet != IMAGE).any(dim=0).flatten()
    covered = torch.zeros(SIZE[0] * SIZE[1], dtype=torch.bool)
    covered[drops.position] = True
    assert not changed[~covered].any()
    assert changed[covered].float().mean() > 0.95


def test_no_drops_no_change():
    assert torch.equal(Raindrops(density=0)(IMAGE, 0)[0], IMAGE)


def test_mask_is_soft_by_the_blur():
    sharp, soft = (drops_of(Raindrops(radius=15, blur=b).sample(0, SIZE), SIZE).mask for b in (0, 6))
    assert (sharp > 0.999).float().mean() > 0.98
    assert 0.2 < ((soft > 0.001) & (soft < 0.999)).float().mean() < 0.8
    for mask in (sharp, soft):
        assert mask.min() > 0
        assert mask.max() <= 1


def test_a_drop_shows_the_scene_upside_down():
    """In a scene that is bright at the top alone, drops are bright at the bottom."""
    op = Raindrops(density=0.4, radius=12, refraction=8)
    scene = torch.zeros(1, *SIZE)
    scene[:, :80] = 1
    lower, upper = [], []
    for seed in range(10):
        params = op.sample(seed, SIZE)
        wet = Raindrops.apply(scene, params)[0].flatten()
        drops = drops_of(params, SIZE)
        row = drops.position // SIZE[1]
        inside = (drops.mask == 1) & (row > 60) & (row < 100)
        flipped = drops.source[:, 0] < row
        lower.append(wet[drops.position[inside & flipped]])
        upper.append(wet[drops.position[inside & ~flipped]])
    assert torch.cat(lower).mean() > 0.2 + torch.cat(upper).mean()


def test_no_refraction_and_a_flat_scene_shows_only_the_dark_rim():
    flat = torch.full((3, *SIZE), 0.8)
    wet, record = Raindrops()(flat, 1)
    drops = drops_of(record.steps[0], SIZE)
    expected = flat.flatten(1).clone()
    expected[:, drops.position] = 0.8 * (1 - drops.mask + drops.mask * drops.shade)
    torch.testing.assert_close(wet.flatten(1), expected, rtol=0, atol=1e-6)
    assert drops.shade.min() == pytest.approx(0.4, abs=1e-6)


def test_more_and_larger_drops_cover_more_and_severity_says_so():
    covered, severities = [], []
    for example in Raindrops.severities:
        params = [Raindrops(**example).sample(seed, SIZE) for seed in range(5)]
        covered.append(sum(len(drops_of(own, SIZE).position) for own in params) / 5 / (SIZE[0] * SIZE[1]))
        severities.append(Raindrops.severity(params[0]))
    assert covered[0] < covered[1] < covered[2]
    assert severities[0] < severities[1] < severities[2]
    assert severities[2] == pytest.approx(1 - math.exp(-3e-4 * math.pi * 18**2))
    assert covered[2] == pytest.approx(severities[2], rel=0.6)


def test_overlapping_drops_stay_in_range():
    wet, _ = Raindrops(density=60, radius=10)(IMAGE, 0)
    assert wet.min() >= 0
    assert wet.max() <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"density": -1}, r"Raindrops\.density: must be at least 0"),
        ({"radius": 0}, r"Raindrops\.radius: must be at least 0\.1"),
        ({"blur": [3, 1]}, r"Raindrops\.blur: the range"),
        ({"refraction": "strong"}, r"Raindrops\.refraction: expected a number"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Raindrops(**arguments)
