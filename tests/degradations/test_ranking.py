"""Renditions that differ in one factor."""

import pytest
import torch

from uir.degradations.base import replay
from uir.degradations.ranking import ranking_tuple, with_another_field
from uir.registry.components import build

RECIPE = build("degradations", {"type": "dasr_wang_aniso"})
FACTORS = ["AnisotropicGaussianBlur.sigma_x_px", "AnisotropicGaussianBlur.sigma_y_px", "GaussianNoise.sigma_255"]
SIZE = (64, 64)


def test_each_rendition_changes_its_factor_and_its_fields_alone():
    query, equal, *changed, clean = ranking_tuple(RECIPE, 3, SIZE, FACTORS)
    assert query.record == RECIPE.record(3, SIZE)
    assert [one.factor for one in (equal, clean)] == ["equal", "none"]
    for rendition, factor in zip([equal, *changed], ["", *FACTORS], strict=True):
        op, _, key = factor.partition(".")
        for one, other in zip(rendition.record.steps, query.record.steps, strict=True):
            differing = {name for name in one if one[name] != other[name]}
            field = {"seed"} if one["op"] == "GaussianNoise" else set()
            assert differing == field | ({key} if one["op"] == op else set())
    assert [step["op"] for step in clean.record.steps] == ["Resize", "Quantise"]


def test_the_order_is_that_of_the_factor():
    seen = set()
    for seed in range(20):
        query, equal, *changed, clean = ranking_tuple(RECIPE, seed, SIZE, FACTORS)
        for rendition, factor in zip(changed, FACTORS, strict=True):
            op, key = factor.split(".")
            new, old = (next(step[key] for step in one.record.steps if step["op"] == op) for one in (rendition, query))
            assert rendition.order == (1 if new > old else -1)
            seen.add(rendition.order)
        assert (query.order, equal.order, clean.order) == (0, 0, -1)
    assert seen == {1, -1}


def test_a_lower_quality_is_the_more_severe_one():
    jpeg = build("degradations", {"type": "JPEG", "quality": [10, 90]})
    for seed in range(10):
        query, _, changed, _ = ranking_tuple(jpeg, seed, SIZE, ["JPEG.quality"])
        worse = changed.record.steps[0]["quality"] < query.record.steps[0]["quality"]
        assert (changed.order == 1) == worse


def test_every_rendition_has_its_own_noise():
    image = torch.full((3, 64, 64), 0.5)
    noise = build("degradations", {"type": "GaussianNoise", "sigma": [5, 20], "clip": False})
    versions = ranking_tuple(noise, 0, (64, 64), ["GaussianNoise.sigma_255"])[:3]
    fields = [
        ((replay(one.record, image) - image) * 255 / one.record.steps[0]["sigma_255"]).flatten() for one in versions
    ]
    correlations = torch.corrcoef(torch.stack(fields))
    assert torch.stack(fields).std(1) == pytest.approx([1] * 3, abs=0.03)
    torch.testing.assert_close(correlations, torch.eye(3), atol=0.05, rtol=0)


def test_a_blur_drawn_by_its_seed_stays_the_same():
    blur = {"op": "TrajectoryBlur", "seed": 3}
    assert with_another_field(blur, "key") == blur
    seeds = {with_another_field({"op": "GaussianNoise", "seed": 3}, key)["seed"] for key in ("key", "equal")}
    assert len(seeds | {3}) == 3


@pytest.mark.parametrize("factor", ["GaussianNoise.sigma", "Haze.beta", "beta"])
def test_a_factor_that_is_not_drawn_is_told(factor):
    with pytest.raises(ValueError, match=f"the factor '{factor}' is not in"):
        ranking_tuple(RECIPE, 0, SIZE, [factor])
