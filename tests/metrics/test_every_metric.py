"""What every registered metric must do, whatever it measures."""

import math
import re
import sys
from pathlib import Path

import pytest
import torch

from uir.metrics import build_metric
from uir.registry import METRIC_REGISTRY

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from metric_configs import METRICS, SIZES, TRUNKS

CLASSES = {name: METRIC_REGISTRY.get(name) for name in METRIC_REGISTRY.keys()}  # noqa: SIM118
OWN = [name for name, target in CLASSES.items() if target.__module__.startswith("uir.")]
OF_IMAGES = [name for name in OWN if not hasattr(CLASSES[name], "compute")]  # one of a whole set has its own tests

ON_STUDIO_LUMA = ("MSSSIM", "PSNR", "calculate_niqe", "calculate_psnr")  # as METRICS has them


@pytest.fixture(scope="module", params=OF_IMAGES)
def metric(request, trunk):
    if request.param not in METRICS:
        pytest.fail(f"{request.param} has no small configuration; add one to tests/metric_configs.py")
    weights = {"weights": str(trunk(TRUNKS[request.param]))} if request.param in TRUNKS else {}
    return build_metric({"type": request.param, **METRICS[request.param], **weights})


@pytest.fixture
def pair(metric, photograph):
    """Two crops of a photograph with noise, and without."""
    height, width = SIZES.get(metric.name, (25, 19))
    gt = torch.stack([photograph[:, top : top + height, 60 : 60 + width] for top in (40, 200)])
    noise = torch.randn(gt.shape, generator=torch.Generator().manual_seed(0))
    return (gt + 0.1 * noise).clamp(0, 1), gt


def test_is_a_finite_number_that_names_its_metric(metric, pair):
    assert isinstance(metric(*pair), float)
    assert abs(metric(*pair)) < float("inf")
    assert any(label in metric.describe() for label in ("PSNR", "SSIM", "ΔE", metric.name))


def test_less_noise_is_better(metric, pair):
    noisy, gt = pair
    cleaner, worse = metric((noisy + gt) / 2, gt), metric(noisy, gt)
    assert cleaner > worse if metric.better == "higher" else cleaner < worse


def test_not_a_number_in_an_image_stays_so(metric, pair):
    noisy = pair[0].clone()
    noisy[0, 1, 9, 8] = float("nan")
    assert math.isnan(metric(noisy, pair[1]))


def test_a_grey_image_is_measured_as_three_equal_channels(metric, pair):
    grey = [image[:, :1] for image in pair]
    expected = metric(*(image.expand(-1, 3, -1, -1) for image in grey))
    if metric.name in ON_STUDIO_LUMA:  # the grey levels as they are, not in 16 to 235
        assert metric(*grey) == pytest.approx(expected, rel=0.1)
    else:
        assert metric(*grey) == pytest.approx(expected, rel=1e-4)


def test_of_a_batch_is_the_mean_over_its_images(metric, pair):
    one_by_one = [metric(restored, gt) for restored, gt in zip(*pair, strict=True)]
    assert metric(*pair) == pytest.approx(sum(one_by_one) / 2, rel=1e-5)


def test_leaves_the_images_alone(metric, pair):
    before = [image.clone() for image in pair]
    metric(*pair)
    torch.testing.assert_close(list(pair), before, rtol=0, atol=0)


def test_memory_layout_does_not_matter(metric, pair):
    channels_last = [image.to(memory_format=torch.channels_last) for image in pair]
    assert metric(*channels_last) == pytest.approx(metric(*pair), rel=1e-5)


def test_bfloat16_is_measured_in_full_precision(metric, pair):
    rounded = pair[0].to(torch.bfloat16)
    assert metric(rounded, pair[1]) == pytest.approx(metric(rounded.float(), pair[1]))


def test_shapes_that_differ_are_refused_where_there_is_a_reference(metric, pair):
    shorter = pair[1][..., :-1]
    if metric.needs_reference:
        shapes = [re.escape(str(list(image.shape))) for image in (pair[0], shorter)]
        with pytest.raises(ValueError, match=" .* ".join(shapes)):
            metric(pair[0], shorter)
    else:
        assert metric(pair[0], shorter) == metric(pair[0])
