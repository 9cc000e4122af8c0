"""Blur that differs from place to place."""

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from uir.degradations.blur_degradation import kernel_of
from uir.degradations.filters import filter2d
from uir.degradations.uneven_blur_degradation import (
    GlassBlur,
    SpatiallyVaryingBlur,
    ZoomBlur,
    magnified,
    masks_of,
    swapped_order,
)

IMAGE = torch.rand(3, 40, 52, generator=torch.Generator().manual_seed(0))
TWO = [{"type": "IsotropicGaussianBlur", "sigma": 0.5}, {"type": "DefocusBlur", "radius": 4}]


def test_result_is_the_masked_sum_of_the_blurs():
    result, record = SpatiallyVaryingBlur()(IMAGE, 0)
    step = record.steps[0]
    masks = masks_of(step, (40, 52))
    assert [blur["op"] for blur in step["blurs"]] == ["IsotropicGaussianBlur", "AnisotropicGaussianBlur", "DefocusBlur"]
    expected = sum(
        mask * filter2d(IMAGE.double(), kernel_of(blur)) for mask, blur in zip(masks, step["blurs"], strict=True)
    )
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=1e-5)


def test_masks_sum_to_one_and_differ_from_place_to_place():
    masks = masks_of(SpatiallyVaryingBlur(contrast=10).sample(0, (64, 64)), (64, 64))
    torch.testing.assert_close(masks.sum(0), torch.ones(64, 64))
    assert masks.min() >= 0
    assert (masks.amax((1, 2)) - masks.amin((1, 2)) > 0.3).all()


def test_contrast_zero_mixes_all_alike():
    masks = masks_of(SpatiallyVaryingBlur(contrast=0).sample(0, (8, 8)), (8, 8))
    torch.testing.assert_close(masks, torch.full((3, 8, 8), 1 / 3))


def test_blurs_draw_independently():
    same = {"type": "IsotropicGaussianBlur"}
    blurs = SpatiallyVaryingBlur([same, same]).sample(0, (8, 8))["blurs"]
    assert blurs[0]["sigma_px"] != blurs[1]["sigma_px"]


def test_masks_may_be_files(tmp_path):
    left = np.zeros((40, 52), np.uint8)
    left[:, :26] = 255
    paths = [tmp_path / "left.png", tmp_path / "right.png"]
    for path, mask in zip(paths, (left, 255 - left), strict=True):
        cv2.imwrite(str(path), mask)
    result, record = SpatiallyVaryingBlur(TWO, masks=paths)(IMAGE, 0)
    blurred = [filter2d(IMAGE, kernel_of(blur)) for blur in record.steps[0]["blurs"]]
    torch.testing.assert_close(result[..., :26], blurred[0][..., :26], rtol=0, atol=1e-4)
    torch.testing.assert_close(result[..., 26:], blurred[1][..., 26:], rtol=0, atol=1e-4)
    assert record.steps[0]["mask_files"] == [str(path) for path in paths]


def test_masks_that_are_black_mix_alike(tmp_path):
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((5, 5), np.uint8))
    masks = masks_of({"blurs": [{}, {}], "mask_files": [str(tmp_path / "black.png")] * 2}, (8, 8))
    torch.testing.assert_close(masks, torch.full((2, 8, 8), 0.5))


def test_glass_swaps_pixels_one_after_the_other():
    params = {"sigma_px": 0, "delta_px": 2, "iterations": 2, "seed": 5}
    order = swapped_order(params, (20, 24))
    assert torch.equal(order.sort().values, torch.arange(20 * 24))
    moved = (order != torch.arange(20 * 24)).reshape(20, 24)
    assert moved[2:-2, 2:-2].float().mean() > 0.7
    assert not moved[0].any()  # swaps reach two pixels up from the third row on


def test_glass_without_a_gaussian_only_moves_pixels():
    result, _ = GlassBlur(sigma=0, delta=1, iterations=1)(IMAGE, 0)
    assert torch.equal(result.flatten(1).sort().values, IMAGE.flatten(1).sort().values)
    assert not torch.equal(result, IMAGE)


def test_first_swaps_are_those_of_a_plain_loop():
    params = {"sigma_px": 0, "delta_px": 1, "iterations": 1, "seed": 5}
    from uir.degradations.fields import uniform

    height, width = 4, 5
    places = [(row, column) for row in (3, 2) for column in (4, 3, 2)]
    draws = uniform(params, 2, len(places), stream="swap 0")
    grid = np.arange(20).reshape(height, width)
    for (row, column), down, right in zip(places, *draws, strict=True):
        other = (row + int(down * 2) - 1, column + int(right * 2) - 1)
        grid[row, column], grid[other] = grid[other], grid[row, column]
    assert swapped_order(params, (height, width)).tolist() == grid.ravel().tolist()


def test_glass_blur_is_gaussian_around_the_swaps():
    params = {"sigma_px": 0.9, "delta_px": 2, "iterations": 1, "seed": 3}
    planes = IMAGE.double().numpy()
    soft = np.stack([ndimage.gaussian_filter(plane, 0.9, mode="mirror") for plane in planes])
    shuffled = soft.reshape(3, -1)[:, swapped_order(params, (40, 52)).numpy()].reshape(soft.shape)
    expected = np.stack([ndimage.gaussian_filter(plane, 0.9, mode="mirror") for plane in shuffled])
    np.testing.assert_allclose(GlassBlur.apply(IMAGE, params).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("zoom", [1.0, 1.1, 1.4, 2.0])
def test_magnifying_is_scipys_affine_transform(zoom):
    middle = np.array([19.5, 25.5])
    exact = np.array([(side + 2 * round(side * (zoom - 1) / 2)) / side for side in (40, 52)])
    expected = [
        ndimage.affine_transform(plane, 1 / exact, middle - middle / exact, order=1, mode="nearest")
        for plane in IMAGE.double().numpy()
    ]
    np.testing.assert_allclose(magnified(IMAGE, zoom).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(magnified(IMAGE.double(), zoom).numpy(), expected, atol=1e-9)


def test_zoom_blur_is_the_mean_of_the_image_and_its_magnifications():
    zooms = np.arange(1, 1.21, 0.02)
    expected = (IMAGE + sum(magnified(IMAGE, zoom) for zoom in zooms)) / (len(zooms) + 1)
    torch.testing.assert_close(ZoomBlur(zoom=1.21, step=0.02)(IMAGE, 0)[0], expected, rtol=0, atol=1e-6)


def test_zoom_blur_leaves_the_centre_alone():
    result, _ = ZoomBlur(zoom=1.3, step=0.02)(IMAGE[:, :39, :51], 0)
    torch.testing.assert_close(result[:, 19, 25], IMAGE[:, 19, 25], rtol=0, atol=1e-6)


def test_no_zoom_is_the_identity():
    torch.testing.assert_close(ZoomBlur(zoom=1)(IMAGE, 0)[0], IMAGE)


@pytest.mark.parametrize("op", [SpatiallyVaryingBlur, GlassBlur, ZoomBlur])
def test_severity_rises_over_the_examples(op):
    first, second, third = (op.severity(op(**example).sample(0, (64, 64))) for example in op.severities)
    assert 0 < first < second < third <= 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SpatiallyVaryingBlur(TWO[:1]), "expected a list of at least two blurs"),
        (
            lambda: SpatiallyVaryingBlur([TWO[0], {"type": "GaussianNoise"}]),
            r"blurs\[1\]: GaussianNoise does not filter",
        ),
        (lambda: SpatiallyVaryingBlur([TWO[0], {"type": "NoSuchOp"}]), r"SpatiallyVaryingBlur\.blurs\[1\]:"),
        (lambda: SpatiallyVaryingBlur(TWO, masks=["a.png"]), "expected 2 files, one for each blur, got 1"),
        (lambda: SpatiallyVaryingBlur(TWO, masks=["a.png", "b.png"]), r"masks: there is no file 'a\.png'"),
        (lambda: GlassBlur(delta=0), r"GlassBlur\.delta: must be between 1 and 32"),
        (lambda: ZoomBlur(zoom=0.5), r"ZoomBlur\.zoom: must be between 1 and 3"),
    ],
)
def test_mistakes_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
