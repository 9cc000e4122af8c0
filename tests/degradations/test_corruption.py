"""Fog, frost, spatter and shadow: their formulas."""

import cv2
import numpy as np
import pytest
import torch
from scipy import stats

from uir.degradations.corruption_degradation import ICE, MUD, WATER, Fog, Frost, Shadow, Spatter, shadow_mask
from uir.degradations.fields import field_generator
from uir.degradations.textures import diamond_square, frost_crystals, splashes

SIZE = (90, 110)
IMAGE = 0.9 * torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))


def colour(values):
    return torch.tensor(values)[:, None, None]


@pytest.mark.parametrize("level", [1, 5])
def test_fog_is_the_published_formula(level):
    foggy, record = Fog(level=level)(IMAGE, 3)
    thickness, decay = {1: (1.5, 2.0), 5: (3.0, 1.4)}[level]
    fractal = diamond_square(SIZE, decay, field_generator(record.steps[0]))
    brightest = IMAGE.max()
    expected = (IMAGE + thickness * fractal) * brightest / (brightest + thickness)
    torch.testing.assert_close(foggy, expected.clamp(0, 1), rtol=0, atol=1e-6)


def test_fog_knows_each_images_own_maximum():
    batch = torch.stack([IMAGE, 0.5 * IMAGE])
    params = Fog(level=3).sample(0, SIZE)
    torch.testing.assert_close(Fog.apply(batch, params)[1], Fog.apply(0.5 * IMAGE, params))


def test_frost_is_the_published_blend():
    frozen, record = Frost(level=3)(IMAGE, 3)
    crystals = frost_crystals(SIZE, record.steps[0]["crystal_px"], field_generator(record.steps[0]))
    expected = 0.7 * IMAGE + 0.7 * crystals * colour(ICE)
    torch.testing.assert_close(frozen, expected.clamp(0, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("level", [2, 5])
def test_spatter_is_added_water_or_covering_mud(level):
    spattered, record = Spatter(level=level)(IMAGE, 3)
    mask = splashes(SIZE, record.steps[0])
    if level <= 3:
        assert mask.max().item() == pytest.approx(0.6)
        expected = IMAGE + mask * colour(WATER)
    else:
        assert mask[mask > 0].min() >= 0.8
        expected = IMAGE * (1 - mask) + mask * colour(MUD)
    torch.testing.assert_close(spattered, expected.clamp(0, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("level", [1, 3, 5])
def test_splashes_are_where_smoothed_noise_is_high(level):
    params = Spatter(level=level).sample(0, (224, 224))
    share = (splashes((224, 224), params) > 0).float().mean().item()
    # variance of white noise under a Gaussian of this sigma; mud is cut once more at its outline
    deviation = params["deviation"] / (2 * np.sqrt(np.pi) * params["sigma_px"])
    expected = stats.norm.sf((params["threshold"] - params["mean"]) / deviation)
    assert 0.1 * expected < share < 1.3 * expected


def test_spatter_without_a_splash_is_the_identity():
    params = {**Spatter(level=1).sample(0, SIZE), "threshold": 5.0}
    assert torch.equal(Spatter.apply(IMAGE, params), IMAGE)


def test_shadow_leaves_a_share_of_the_light():
    shaded, record = Shadow()(IMAGE, 3)
    (step,) = record.steps
    mask = shadow_mask(step, SIZE)
    expected = IMAGE * (1 - mask * (1 - colour(step["light"])))
    torch.testing.assert_close(shaded, expected, rtol=0, atol=1e-6)
    assert step["light"][0] <= step["light"][1] <= step["light"][2] <= 1


@pytest.mark.parametrize("coverage", [0.2, 0.5])
def test_shadow_covers_what_was_asked(coverage):
    for seed in range(4):
        mask = shadow_mask(Shadow(coverage=coverage).sample(seed, SIZE), SIZE)
        assert mask.mean().item() == pytest.approx(coverage, abs=0.06)
        assert mask.max() == 1
        assert mask.min() == 0


def test_softness_widens_the_penumbra():
    hard, soft = (shadow_mask(Shadow(softness=softness).sample(0, SIZE), SIZE) for softness in (0.02, 0.4))
    assert soft.diff(dim=1).abs().max() < 0.2 * hard.diff(dim=1).abs().max()


def test_diamond_square_refines_the_mean_of_its_neighbours():
    """With amplitudes that vanish at once, a midpoint is the mean of the four corners around it."""
    fractal = diamond_square((4, 4), 1e6, torch.Generator().manual_seed(0))[0].double().numpy()
    rolled = np.roll(fractal[::2, ::2], -1, 0)
    around = fractal[::2, ::2] + rolled + np.roll(fractal[::2, ::2], -1, 1) + np.roll(rolled, -1, 1)
    np.testing.assert_allclose(fractal[1::2, 1::2], around / 4, atol=1e-5)


def test_diamond_square_is_rougher_for_a_slower_decay():
    smooth, rough = (diamond_square((128, 128), decay, torch.Generator().manual_seed(0)) for decay in (2.0, 1.4))
    assert rough.diff(dim=1).abs().mean() > 2 * smooth.diff(dim=1).abs().mean()
    for fractal in (smooth, rough):
        assert fractal.min() == 0
        assert fractal.max() == 1


def test_frost_has_crystals_of_the_size_asked_for():
    """Larger crystals change more slowly over the pane."""
    fine, coarse = (frost_crystals((200, 200), px, torch.Generator().manual_seed(0)) for px in (12, 150))
    for frost in (fine, coarse):
        assert frost.min() >= 0
        assert frost.max() <= 1
        assert frost.std() > 0.08
    assert fine.diff(dim=2).abs().mean() > 1.3 * coarse.diff(dim=2).abs().mean()


def test_levels_are_the_published_constants():
    assert [Fog(level=k).sample(0, SIZE)["thickness"] for k in range(1, 6)] == [1.5, 2.0, 2.5, 2.5, 3.0]
    assert [Frost(level=k).sample(0, SIZE)["frost_share"] for k in range(1, 6)] == [0.4, 0.6, 0.7, 0.7, 0.75]
    assert [Spatter(level=k).sample(0, SIZE)["liquid"] for k in range(1, 6)] == ["water"] * 3 + ["mud"] * 2
    assert len({Fog().sample(seed, SIZE)["decay"] for seed in range(40)}) == 4


@pytest.mark.parametrize("op", [Fog, Frost, Spatter, Shadow])
def test_severities_of_the_examples_grow_and_so_does_the_harm(op):
    severities, harms = [], []
    for example in op.severities:
        degraded, record = op(**example)(IMAGE, 1)
        severities.append(op.severity(record.steps[0]))
        harms.append((degraded - IMAGE).square().mean().item())
    assert 0 < severities[0] < severities[1] < severities[2] <= 1
    assert harms[0] < harms[2]


def test_water_is_darker_at_its_outline():
    params = {**Spatter(level=1).sample(1, (224, 224)), "sigma_px": 12.0, "deviation": 3.0}
    mask = splashes((224, 224), params)[0].numpy()
    inner = cv2.erode((mask > 0).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    rim = (mask > 0) & ~inner
    assert mask[inner].mean() > mask[rim].mean()


@pytest.mark.parametrize(
    ("op", "arguments", "message"),
    [
        (Fog, {"level": 0}, r"Fog\.level: must be between 1 and 5"),
        (Frost, {"crystal": 1}, r"Frost\.crystal: must be at least 4"),
        (Spatter, {"level": [1.5, 2]}, r"Spatter\.level: expected a whole number"),
        (Shadow, {"light": 2}, r"Shadow\.light: must be between 0 and 1"),
        (Shadow, {"softness": 0}, r"Shadow\.softness: must be at least 0\.001"),
    ],
)
def test_mistakes_are_named(op, arguments, message):
    with pytest.raises(ValueError, match=message):
        op(**arguments)
