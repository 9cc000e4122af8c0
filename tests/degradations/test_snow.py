"""Snow: the formula, the flakes, and the snow of ImageNet-C."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from uir.degradations.snow_degradation import IMAGENET_C_SNOW, ImageNetCSnow, Snow, blur_one_way, snow_mask

IMAGE = torch.rand(3, 60, 70, generator=torch.Generator().manual_seed(0))


def test_result_is_the_published_formula():
    snowy, record = Snow()(IMAGE, 3)
    (p,) = record.steps
    mask, passes = snow_mask(p, (60, 70)), p["transmission"]
    flaked = IMAGE * (1 - mask) + p["brightness"] * mask
    torch.testing.assert_close(snowy, passes * flaked + (1 - passes) * p["airlight"], rtol=0, atol=1e-6)


def test_a_mask_that_is_read_composes_as_in_cdd11(tmp_path):
    mask = np.random.default_rng(0).random((60, 70)).astype(np.float32)
    np.save(tmp_path / "mask.npy", mask)
    op = Snow(mask=tmp_path / "mask.npy", opacity=1, brightness=1, transmission=1, clip=False)
    snowy, record = op(IMAGE + 0.5, 0)
    torch.testing.assert_close(snowy, (IMAGE + 0.5) * (1 - torch.from_numpy(mask)) + torch.from_numpy(mask))
    assert snowy.max() > 1
    assert record.steps[0]["mask_file"] == str(tmp_path / "mask.npy")


def test_mask_lies_between_0_and_the_opacity():
    mask = snow_mask(Snow(density=40, size=6, opacity=0.8).sample(0, (100, 120)), (100, 120))
    assert mask.shape == (1, 100, 120)
    assert mask.min() == 0
    assert 0.5 < mask.max() <= 0.8


def test_no_flakes_and_no_veil_is_the_identity():
    assert torch.equal(Snow(density=0, transmission=1)(IMAGE, 0)[0], IMAGE)


def test_number_of_flakes_is_that_asked_for():
    op = Snow(density=4, size=3, streak=0)
    numbers = [ndimage.label(snow_mask(op.sample(seed, (400, 400)), (400, 400))[0].numpy() > 0)[1] for seed in range(4)]
    assert np.mean(numbers) == pytest.approx(64, rel=0.2)


def test_flakes_enter_from_all_sides():
    masks = torch.cat([snow_mask(Snow(density=30).sample(seed, (80, 80)), (80, 80)) for seed in range(60)])
    inner = masks[:, 10:-10, 10:-10].mean()
    for edge in (masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]):
        assert edge.mean() == pytest.approx(inner, rel=0.25)


@pytest.mark.parametrize("angle", [-40, 0, 30])
def test_flakes_are_smeared_along_their_fall(angle):
    op = Snow(density=1, size=3, streak=20, angle=angle)
    slopes = []
    for seed in range(10):
        mask = snow_mask(op.sample(seed, (300, 300)), (300, 300))[0].numpy()
        labels, number = ndimage.label(mask > 0)
        for k in range(1, number + 1):
            down, right = np.nonzero(labels == k)
            if np.ptp(down) > 12 and min(*down, *right) > 0 and max(*down, *right) < 299:
                slopes.append(np.cov(right, down)[0, 1] / np.var(down, ddof=1))
    assert math.degrees(math.atan(np.median(slopes))) == pytest.approx(angle, abs=5)


def test_severity_is_the_light_lost():
    assert Snow.severity(Snow(density=0, transmission=1).sample(0, (4, 4))) == 0
    assert Snow.severity(Snow(density=1e6, transmission=0.5, opacity=1).sample(0, (4, 4))) == pytest.approx(1)
    mild, medium, severe = (
        Snow.severity(Snow(opacity=0.8, **example).sample(0, (4, 4))) for example in Snow.severities
    )
    assert 0 < mild < medium < severe < 1


def test_imagenet_c_snow_only_brightens():
    for level in IMAGENET_C_SNOW:
        snowy, _ = ImageNetCSnow(level=level)(IMAGE, 0)
        assert (snowy >= IMAGE - 1e-6).all()


def test_imagenet_c_snow_whitens_where_no_flake_is():
    """A layer of zeros (threshold above everything) leaves b·J + (1 − b)·max(J, 1.5·grey(J) + 0.5)."""
    params = {**ImageNetCSnow(level=3).sample(0, (60, 70)), "threshold": 9.0}
    grey = (IMAGE * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    expected = 0.7 * IMAGE + 0.3 * torch.maximum(IMAGE, 1.5 * grey + 0.5)
    torch.testing.assert_close(ImageNetCSnow.apply(IMAGE, params), expected.clamp(0, 1), rtol=0, atol=1e-6)


def test_imagenet_c_snow_is_the_same_turned_by_180_degrees():
    black = torch.zeros(3, 61, 70)
    snowy, _ = ImageNetCSnow(level=2)(black, 0)
    torch.testing.assert_close(snowy, snowy.flip(-2, -1))


def test_levels_are_the_published_constants():
    params = ImageNetCSnow(level=5).sample(0, (4, 4))
    assert (params["mean"], params["zoom"], params["threshold"], params["scene_share"]) == (0.55, 2.5, 0.85, 0.55)
    assert {ImageNetCSnow().sample(seed, (4, 4))["zoom"] for seed in range(40)} == {3.0, 2.0, 4.0, 4.5, 2.5}


def test_one_sided_blur_of_a_point():
    point = torch.zeros(1, 41, 41)
    point[0, 20, 20] = 1
    blurred = blur_one_way(point, 4, 3.0, 90.0)
    weights = np.exp(-(np.arange(9) ** 2) / 18)
    np.testing.assert_allclose(blurred[0, 20:29, 20].numpy(), weights / weights.sum(), atol=1e-6)
    assert blurred.sum().item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("op", "arguments", "message"),
    [
        (Snow, {"density": -1}, r"Snow\.density: must be at least 0"),
        (Snow, {"size": 0}, r"Snow\.size: must be at least 0\.1"),
        (Snow, {"opacity": [0.5, 2]}, r"Snow\.opacity: must be between 0 and 1"),
        (Snow, {"mask": "nowhere"}, r"Snow\.mask: there is no file 'nowhere'"),
        (Snow, {"clip": 0}, r"Snow\.clip: expected true or false"),
        (ImageNetCSnow, {"level": 6}, r"ImageNetCSnow\.level: must be between 1 and 5"),
        (ImageNetCSnow, {"level": 2.5}, r"ImageNetCSnow\.level: expected a whole number"),
    ],
)
def test_mistakes_are_named(op, arguments, message):
    with pytest.raises(ValueError, match=message):
        op(**arguments)
