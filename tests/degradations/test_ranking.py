"""Renditions that differ in one factor."""

import pytest
import torch

from uir.degradations.base import replay
from uir.degradations.ranking import ranking_tuple
from uir.registry.components import build

RECIPE = build("degradations", {"type": "dasr_wang_aniso"})
FACTORS = ["AnisotropicGaussianBlur.sigma_x_px", "AnisotropicGaussianBlur.sigma_y_px", "GaussianNoise.sigma_255"]
SIZE = (64, 64)


def test_each_rendition_changes_its_factor_and_nothing_else():
    query, *changed, clean = ranking_tuple(RECIPE, 3, SIZE, FACTORS)
    assert query.record == RECIPE.record(3, SIZE)
    for rendition, factor in zip(changed, FACTORS, strict=True):
        op, key = factor.split(".")
        assert rendition.factor == factor
        for one, other in zip(rendition.record.steps, query.record.steps, strict=True):
            differing = {name for name in one if one[name] != other[name]}
            assert differing == ({key} if one["op"] == op else set())
    assert [step["op"] for step in clean.record.steps] == ["Resize", "Quantise"]


def test_the_order_is_that_of_the_factor():
    seen = set()
    for seed in range(20):
        query, *changed, clean = ranking_tuple(RECIPE, seed, SIZE, FACTORS)
        for rendition, factor in zip(changed, FACTORS, strict=True):
            op, key = factor.split(".")
            new, old = (next(step[key] for step in one.record.steps if step["op"] == op) for one in (rendition, query))
            assert rendition.order == (1 if new > old else -1)
            seen.add(rendition.order)
        assert clean.order == -1
    assert seen == {1, -1}


def test_a_lower_quality_is_the_more_severe_one():
    jpeg = build("degradations", {"type": "JPEG", "quality": [10, 90]})
    for seed in range(10):
        query, changed, _ = ranking_tuple(jpeg, seed, SIZE, ["JPEG.quality"])
        worse = changed.record.steps[0]["quality"] < query.record.steps[0]["quality"]
        assert (changed.order == 1) == worse


def test_the_noise_field_is_kept():
    image = torch.full((3, 16, 16), 0.5)
    noise = build("degradations", {"type": "GaussianNoise", "sigma": [1, 20]})
    query, changed, _ = ranking_tuple(noise, 0, (16, 16), ["GaussianNoise.sigma_255"])
    fields = [(replay(one.record, image) - image) / one.record.steps[0]["sigma_255"] for one in (query, changed)]
    torch.testing.assert_close(*fields, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("factor", ["GaussianNoise.sigma", "Haze.beta", "beta"])
def test_a_factor_that_is_not_drawn_is_told(factor):
    with pytest.raises(ValueError, match=f"the factor '{factor}' is not in"):
        ranking_tuple(RECIPE, 0, SIZE, [factor])
