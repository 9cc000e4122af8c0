"""Elastic transform: where pixels come from, and by how much they are moved."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from uir.degradations.geometry_degradation import (
    ElasticTransform,
    affine_matrix,
    displacement,
    sampled_at,
    source_places,
)

IMAGE = torch.rand(3, 60, 75, generator=torch.Generator().manual_seed(0))
IMAGENET_C = [(488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88)]


@pytest.mark.parametrize(("alpha", "sigma", "affine"), IMAGENET_C)
def test_result_is_interpolated_at_the_source_places(alpha, sigma, affine):
    result, record = ElasticTransform(alpha, sigma, affine)(IMAGE, 3)
    x, y = source_places(record.steps[0], (60, 75)).permute(2, 0, 1).numpy()
    expected = [ndimage.map_coordinates(plane, [y, x], order=1, mode="mirror") for plane in IMAGE.double().numpy()]
    np.testing.assert_allclose(result.numpy(), np.stack(expected), atol=1e-4)


def test_nothing_moved_is_the_identity():
    result, record = ElasticTransform(alpha=0, affine=0)(IMAGE, 0)
    torch.testing.assert_close(result, IMAGE, rtol=0, atol=1e-4)
    assert ElasticTransform.severity(record.steps[0]) == 0


def test_a_shift_by_whole_pixels_moves_the_image():
    rows, columns = torch.meshgrid(torch.arange(60.0), torch.arange(75.0), indexing="ij")
    moved = sampled_at(IMAGE, torch.stack([columns + 4, rows - 2], dim=-1))
    torch.testing.assert_close(moved[:, 2:, :-4], IMAGE[:, :-2, 4:], rtol=0, atol=1e-4)
    torch.testing.assert_close(moved[:, 0], moved[:, 4], rtol=0, atol=1e-4)  # mirrored about the first row


@pytest.mark.parametrize(("alpha", "sigma"), [(12.2, 2.44), (100.0, 9.0), (488.0, 19.52)])
def test_displacement_varies_as_smoothed_uniform_noise_does(alpha, sigma):
    """White noise of variance 1/3 under a Gaussian of this width; fine or coarse, the grid does not matter."""
    fields = [
        displacement({"alpha_px": alpha, "sigma_px": sigma, "seed": seed}, (300, 300))[:, 60:-60, 60:-60]
        for seed in range(6)
    ]
    expected = alpha / np.sqrt(3) / (2 * np.sqrt(np.pi) * sigma)
    assert torch.stack(fields).square().mean().sqrt().item() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("sigma", [2.44, 19.52])
def test_displacement_is_as_smooth_as_asked(sigma):
    """The correlation of neighbours at a distance of two sigma is exp(-1)."""
    step = round(2 * sigma)
    fields = torch.stack(
        [displacement({"alpha_px": 1.0, "sigma_px": sigma, "seed": seed}, (400, 400)) for seed in range(6)]
    )
    correlation = (fields[..., step:] * fields[..., :-step]).mean() / fields.square().mean()
    assert correlation.item() == pytest.approx(np.exp(-((step / (2 * sigma)) ** 2)), abs=0.1)


def test_the_affine_map_takes_moved_points_back():
    """None of the three points moves by more than was allowed."""
    points = np.array([[57, 50], [57, 10], [17, 10]], float)  # a third of the shorter side about (37, 30)
    for seed in range(10):
        matrix = affine_matrix({"affine_px": 4.88, "seed": seed}, (60, 75)).numpy()
        moved = np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T
        assert 0 < np.abs(moved - points).max() <= 4.88


def test_severity_grows_with_the_published_one():
    severities = [ElasticTransform.severity(ElasticTransform(*level).sample(0, (8, 8))) for level in IMAGENET_C]
    assert severities == sorted(severities)
    assert severities[-1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": -1}, r"ElasticTransform\.alpha: must be at least 0"),
        ({"sigma": 0}, r"ElasticTransform\.sigma: must be at least 0\.5"),
        ({"affine": [5, 1]}, r"ElasticTransform\.affine: the range"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ElasticTransform(**arguments)
