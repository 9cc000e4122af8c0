"""Composite scores: published formulas, terms as data, regions, and mistakes in the data."""

import math

import pytest
import torch

from uir.metrics import CompositeScore, build_metric, psnr, ssim
from uir.metrics.composite_metric import CompositeScoreOfMeans, terms_of
from uir.metrics.scores import SCORES

PSNR_TERM = {"metric": {"type": "PSNR"}, "weight": 20, "range": [0, 50]}


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    gt = torch.rand(1, 3, 25, 19, generator=generator)
    return (gt + 0.1 * torch.randn(gt.shape, generator=generator)).clamp(0, 1), gt


def of_values(preset: str, **values: float) -> float:
    """A published score of given values of its metrics, by their names in small letters."""
    stand_in = build_metric({"type": "PSNR"})
    terms = terms_of(SCORES[preset], dict.fromkeys(values, stand_in))
    return math.fsum(term.value(values[term.name]) for term in terms)


@pytest.mark.parametrize(
    ("preset", "poor", "good"), [("raim2024", 62.5, 87.8333), ("raim2024_printed", 158.8333, 184.1667)]
)
def test_the_two_readings_of_raim_2024_give_the_known_scores(preset, poor, good):
    assert of_values(preset, psnr=25, ssim=0.75, lpips=0.2, dists=0.15, niqe=5) == pytest.approx(poor, abs=1e-4)
    assert of_values(preset, psnr=30, ssim=0.9, lpips=0.1, dists=0.08, niqe=3.5) == pytest.approx(good, abs=1e-4)


def test_the_largest_scores_are_those_of_the_formulas():
    best = {"psnr": 50, "ssim": 1, "lpips": 0}
    assert of_values("raim2024", **best, dists=0, niqe=0) == pytest.approx(125)
    assert of_values("raim2024_printed", **best, dists=0, niqe=0) == pytest.approx(221.3333, abs=1e-4)
    assert of_values("raim2026_hdr", **best) == pytest.approx(82.5)


@pytest.mark.parametrize(("niqe", "part"), [(4.0, 0.6), (12.0, 0.0)])
def test_ntire_2025_counts_a_niqe_above_ten_as_nothing(niqe, part):
    values = {"lpips": 0.25, "dists": 0.1, "clipiqa": 0.7, "maniqa": 0.4, "musiq": 65}
    assert of_values("ntire2025_perceptual", **values, niqe=niqe) == pytest.approx(0.75 + 0.9 + 0.7 + 0.4 + 0.65 + part)


@pytest.mark.parametrize("preset", SCORES)
def test_the_challenges_measure_by_pyiqa_and_so_on_the_luma_of_yiq(preset):
    for entry in SCORES[preset]:
        name, *settings = entry["metric"].values()
        assert settings == {"SSIM": ["yiq", True], "NIQE": ["yiq"]}.get(name, []), name


def test_a_score_of_an_option_file_is_the_weighted_sum_of_its_terms(pair):
    ssim_term = {"metric": {"type": "SSIM", "color_space": "y"}, "weight": 15, "range": [0.5, 1]}
    metric = build_metric({"type": "CompositeScore", "terms": [PSNR_TERM, ssim_term]})
    expected = 20 * psnr(*pair) / 50 + 15 * (ssim(*pair, color_space="y") - 0.5) / 0.5
    assert metric(*pair) == pytest.approx(expected.item())
    assert metric.describe() == "CompositeScore (20 psnr + 15 ssim)"


def test_a_bound_counts_for_the_means_and_not_for_each_image(pair):
    score = CompositeScoreOfMeans(
        terms=[{"metric": "PSNR", "weight": 1, "range": [0, 10], "invert": True, "at_least": 0}]
    )
    assert score.compute([[4.0], [14.0]]) == pytest.approx(0.1)
    assert score.score([4.0]) / 2 + score.score([14.0]) / 2 == pytest.approx(0.3)


def test_psnr_of_a_region_averages_over_its_own_pixels(pair):
    mask = torch.zeros(1, 1, 25, 19)
    mask[..., 3:9, 5] = 1
    mask[..., 10:20, 2:11] = 1
    inside = mask[0, 0] > 0.5
    levels = [(image[0] * 255).round()[:, inside] for image in pair]
    expected = 10 * math.log10(255**2 / (levels[0] - levels[1]).square().mean().item())
    score = CompositeScore(terms=[{"metric": "PSNR", "weight": 1, "region": "person"}])
    assert score(*pair, {"person": mask}) == pytest.approx(expected, abs=1e-4)
    outside = CompositeScore(terms=[{"metric": "PSNR", "weight": 1, "region": "not person"}])
    assert outside(*pair, {"person": 1 - mask}) == pytest.approx(expected, abs=1e-4)


def test_errors_outside_of_a_region_do_not_count(pair):
    mask = torch.zeros(1, 1, 25, 19)
    mask[..., 2:15, 3:18] = 1
    score = CompositeScore(terms=[{"metric": "SSIM", "weight": 1, "region": "face"}])
    changed = torch.where(mask > 0.5, pair[0], 0.0)
    assert score(changed, pair[1], {"face": mask}) == score(*pair, {"face": mask})
    assert score(*pair, {"face": mask}) < 1


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        (
            None,
            "term 'psnr of person': the images have no region 'person' .they have none.; name the folder of its masks",
        ),
        ({"sky": torch.ones(1, 1, 25, 19)}, "they have sky"),
        ({"person": torch.zeros(1, 1, 25, 19)}, "the region is empty"),
        ({"person": torch.ones(1, 1, 20, 19)}, "the region is of .20, 19. pixels"),
    ],
)
def test_a_region_that_does_not_fit_is_named(pair, regions, message):
    score = CompositeScore(terms=[{"metric": "PSNR", "weight": 1, "region": "person"}])
    with pytest.raises(ValueError, match=message):
        score(*pair, regions)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either `preset`, the name of a published score, or `terms`"),
        ({"preset": "raim2042"}, "no score is called 'raim2042'; did you mean raim2024"),
        ({"terms": []}, "terms: expected a list"),
        ({"terms": [{**PSNR_TERM, "wieght": 1}]}, r"terms\[0\]: a term has no key 'wieght'; did you mean weight"),
        ({"terms": [{"metric": "PSNR"}]}, r"terms\[0\]: `weight` is missing"),
        ({"terms": [{**PSNR_TERM, "weight": "much"}]}, r"terms\[0\].weight: expected a number, got 'much'"),
        ({"terms": [{**PSNR_TERM, "range": [1, 0]}]}, r"terms\[0\].range: \[1, 0\] is empty"),
        ({"terms": [{**PSNR_TERM, "range": 50}]}, r"terms\[0\].range: expected \[low, high\], got 50"),
        ({"terms": [{**PSNR_TERM, "invert": "yes"}]}, r"terms\[0\].invert: expected true or false"),
        ({"terms": [PSNR_TERM, PSNR_TERM]}, "'psnr' stands there twice"),
        (
            {"terms": [{"metric": "NoMetric", "weight": 1}]},
            "term 'nometric' needs the metric NoMetric, which is not registered",
        ),
        ({"terms": [{"metric": {"type": "PSNR", "x": 1}, "weight": 1}]}, "term 'psnr': PSNR has no argument 'x'"),
    ],
)
def test_a_mistake_in_the_terms_is_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_metric({"type": "CompositeScore", **arguments})
