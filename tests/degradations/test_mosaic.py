"""Bayer mosaics: which pixel keeps which colour, and what demosaicing makes of it."""

import cv2
import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from uir.degradations.mosaic_degradation import DEMOSAICS, PATTERNS, Mosaic

IMAGE = 0.1 + 0.8 * torch.rand(3, 18, 23, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pixel_keeps_the_colour_of_the_pattern(pattern):
    result, record = Mosaic(pattern)(IMAGE, 0)
    assert record.steps == ({"op": "Mosaic", "pattern": pattern, "demosaic": "none"},)
    for row in range(18):
        for column in range(23):
            kept = "rgb".index(pattern[2 * (row % 2) + column % 2])
            expected = torch.zeros(3)
            expected[kept] = IMAGE[kept, row, column]
            assert torch.equal(result[:, row, column], expected)


@pytest.mark.parametrize("demosaic", ["bilinear", "edge_aware"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_flat_colours_are_restored(pattern, demosaic):
    flat = torch.tensor([0.2, 0.5, 0.9])[:, None, None].expand(3, 9, 12)
    torch.testing.assert_close(Mosaic(pattern, demosaic)(flat, 0)[0], flat, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_bilinear_is_normalised_convolution(pattern):
    mosaic = Mosaic(pattern)(IMAGE.double(), 0)[0].numpy()
    known = (mosaic > 0).astype(float)
    result = Mosaic(pattern, "bilinear")(IMAGE.double(), 0)[0].numpy()
    for channel, kernel in enumerate(([[1, 2, 1], [2, 4, 2], [1, 2, 1]], [[0, 1, 0], [1, 4, 1], [0, 1, 0]]) * 2):
        if channel < 3:
            sums, counts = (convolve2d(plane[channel], kernel, mode="same") for plane in (mosaic, known))
            np.testing.assert_allclose(result[channel], sums / counts, atol=1e-7)


@pytest.mark.parametrize("demosaic", ["bilinear", "edge_aware"])
def test_demosaicing_keeps_what_was_measured(demosaic):
    result, _ = Mosaic("grbg", demosaic)(IMAGE, 0)
    inside = slice(2, -2)
    for channel, row, column in ((1, 0, 0), (0, 0, 1), (2, 1, 0), (1, 1, 1)):
        got = result[channel, row::2, column::2][inside, inside]
        torch.testing.assert_close(got, IMAGE[channel, row::2, column::2][inside, inside], rtol=0, atol=1e-5)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("demosaic", "suffix"), [("bilinear", ""), ("edge_aware", "_EA")])
def test_demosaicing_is_that_of_opencv_inside_the_border(pattern, demosaic, suffix):
    plane = (Mosaic(pattern)(IMAGE, 0)[0].sum(0) * 65535).round().numpy().astype(np.uint16)
    reference = cv2.demosaicing(plane, getattr(cv2, f"COLOR_Bayer{pattern.upper()}2RGB{suffix}")) / np.float32(65535)
    result = Mosaic(pattern, demosaic)(IMAGE, 0)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(result[1:-1, 1:-1], reference[1:-1, 1:-1], rtol=0, atol=5e-5)


def test_edge_aware_interpolates_green_along_an_edge():
    image = torch.zeros(3, 12, 12)
    image[:, :, 6:] = 1
    errors = {name: (Mosaic("rggb", name)(image, 0)[0] - image)[1].abs().mean() for name in DEMOSAICS}
    assert errors["edge_aware"] < errors["bilinear"] < errors["none"]


def test_grey_images_pass():
    assert torch.equal(Mosaic()(IMAGE[:1], 0)[0], IMAGE[:1])


def test_patterns_are_drawn():
    op = Mosaic(list(PATTERNS))
    assert {op.sample(seed, (4, 4))["pattern"] for seed in range(40)} == set(PATTERNS)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"Mosaic\.pattern: expected one or some of rggb, .* got 'rgbg'"):
        Mosaic("rgbg")
    with pytest.raises(ValueError, match=r"Mosaic\.demosaic: expected one or some of"):
        Mosaic(demosaic="matlab")
    with pytest.raises(ValueError, match=r"Mosaic: expected 1 or 3 channels, got shape \[4, 8, 8\]"):
        Mosaic()(torch.rand(4, 8, 8), 0)
