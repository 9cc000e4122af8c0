"""Metrics as option files name them: uir's own, BasicSR's, and functions and classes from plugins."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from uir.metrics import build_metric, psnr
from uir.metrics.psnr_metric import calculate_psnr
from uir.metrics.ssim_metric import calculate_ssim
from uir.registry import METRIC_REGISTRY, UnknownNameError

needs_basicsr = pytest.mark.skipif(find_spec("basicsr") is None, reason="basicsr is not installed")


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    gt = torch.rand(2, 3, 24, 20, generator=generator)
    return gt + 0.1 * torch.randn(gt.shape, generator=generator), gt


@pytest.fixture
def registered(monkeypatch):
    """Registers a metric as a plugin would, for one test."""
    monkeypatch.setattr(
        METRIC_REGISTRY, "_objects", {key: dict(names) for key, names in METRIC_REGISTRY._objects.items()}
    )

    def register(target):
        target.__module__ = "my_plugin"
        return METRIC_REGISTRY.register(target)

    return register


def as_saved(image):
    levels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.permute(1, 2, 0).numpy()[..., ::-1]


@pytest.mark.parametrize(
    ("name", "function", "label"),
    [("calculate_psnr", calculate_psnr, "PSNR"), ("calculate_ssim", calculate_ssim, "SSIM")],
)
@pytest.mark.parametrize("luma", [False, True])
def test_basicsr_names_score_tensors_as_their_saved_images(pair, name, function, label, luma):
    metric = build_metric({"type": name, "crop_border": 2, "test_y_channel": luma, "better": "higher"})
    arrays = [[as_saved(image) for image in batch] for batch in pair]
    expected = np.mean([function(x, y, 2, test_y_channel=luma) for x, y in zip(*arrays, strict=True)])
    assert metric(*pair) == pytest.approx(expected, abs=1e-7)
    assert metric.describe() == f"{label} ({'Y' if luma else 'RGB'}, border 2, uint8)"
    assert (metric.better, metric.needs_reference) == ("higher", True)


def test_own_metric_with_a_protocol(pair):
    metric = build_metric({"type": "PSNR", "protocol": "maskdcpt"})
    assert metric(*pair) == psnr(*pair, protocol="maskdcpt").mean().item()
    assert metric.describe() == "PSNR (RGB, border 0, unrounded, protocol maskdcpt)"


def test_tensor_form_caps_identical_images_at_eighty_decibels(pair):
    metric = build_metric({"type": "calculate_psnr_pt", "crop_border": 0})
    assert metric(pair[1], pair[1]) == pytest.approx(80, abs=1e-6)
    assert metric(pair[1][0], pair[1][0]) == pytest.approx(80, abs=1e-6)


@needs_basicsr
def test_basicsr_origin_can_be_forced(pair):
    forced = build_metric({"type": "basicsr:calculate_psnr", "crop_border": 4, "test_y_channel": True})
    own = build_metric({"type": "calculate_psnr", "crop_border": 4, "test_y_channel": True})
    assert forced(*pair) == pytest.approx(own(*pair), abs=1e-6)


def test_a_plugin_function_in_basicsr_form_gets_uint8_bgr_arrays(pair, registered):
    seen = []

    def calculate_blue_error(img, img2, offset=0, **kwargs):
        seen.append((img.dtype, img.shape))
        return float(abs(img[..., 0].astype(float) - img2[..., 0]).mean()) + offset

    registered(calculate_blue_error)
    metric = build_metric({"type": "calculate_blue_error", "offset": 1, "better": "lower"})
    expected = [
        abs(as_saved(x)[..., 0].astype(float) - as_saved(y)[..., 0]).mean() + 1 for x, y in zip(*pair, strict=True)
    ]
    assert metric(*pair) == pytest.approx(np.mean(expected))
    assert seen == [(np.uint8, (24, 20, 3))] * 2
    assert metric.better == "lower"
    assert metric.describe() == "calculate_blue_error (offset 1)"


def test_a_function_of_restored_and_gt_gets_tensors(pair, registered):
    def mean_error(restored, gt):
        return (restored - gt).abs().mean(dim=(1, 2, 3))

    mean_error.better = "lower"
    registered(mean_error)
    metric = build_metric({"type": "mean_error"})
    assert metric(*pair) == pytest.approx((pair[0] - pair[1]).abs().mean().item(), abs=1e-6)
    assert metric.better == "lower"


def test_a_function_without_second_image_needs_no_reference(pair, registered):
    def calculate_contrast(img, crop_border):
        return img.std()

    registered(calculate_contrast)
    metric = build_metric({"type": "calculate_contrast", "crop_border": 0})
    assert not metric.needs_reference
    assert metric(pair[0]) == metric(*pair)


def test_a_plugin_class_gets_tensors(pair, registered):
    class Sharpness:
        better = "lower"
        needs_reference = False

        def __init__(self, factor: float = 1.0):
            self.factor = factor

        def __call__(self, restored):
            return restored.std() * self.factor

    registered(Sharpness)
    metric = build_metric({"type": "Sharpness", "factor": 2})
    assert metric(pair[0]) == pytest.approx(2 * pair[0].std().item(), abs=1e-6)
    assert (metric.better, metric.needs_reference, metric.describe()) == ("lower", False, "Sharpness")


@needs_basicsr
def test_basicsr_niqe_is_better_when_lower():
    metric = build_metric({"type": "basicsr:calculate_niqe", "crop_border": 0})
    assert (metric.better, metric.needs_reference) == ("lower", False)


def test_arrays_of_an_image_that_is_not_a_number_are_never_made(pair, registered):
    def calculate_nothing(img, img2):
        raise AssertionError("called")

    registered(calculate_nothing)
    restored = pair[0].clone()
    restored[0, 0, 0, 0] = math.nan
    assert math.isnan(build_metric({"type": "calculate_nothing"})(restored, pair[1]))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"crop_border": 0}, "`type` is missing"),
        ({"type": "calculate_psnr"}, "calculate_psnr needs `crop_border` .pixels left out at each edge, 0 for none., "),
        ({"type": "calculate_psnr", "crop_border": None}, "crop_border: expected a whole number of pixels, got None"),
        ({"type": "calculate_psnr", "crop_border": 0, "test_y_chanel": True}, "did you mean test_y_channel"),
        (
            {"type": "calculate_psnr", "crop_border": 0, "zzz": 1},
            "no argument 'zzz'; it takes crop_border, input_order",
        ),
        (
            {"type": "calculate_psnr", "crop_border": 0, "input_order": "CHW"},
            "input_order: uir passes images",
        ),
        (
            {"type": "calculate_psnr", "crop_border": 0, "better": "more"},
            "expected higher or lower, got 'more'",
        ),
        ({"type": "PSNR", "protocol": "dcpt", "color_space": "y"}, "contradicts protocol 'dcpt'"),
        ({"type": "PSNR", "colour_space": "y"}, "did you mean color_space"),
    ],
)
def test_mistakes_are_found_when_the_metric_is_built(spec, message):
    with pytest.raises(ValueError, match=message):
        build_metric(spec)


def test_messages_begin_with_the_key_path():
    with pytest.raises(ValueError, match=r"^val\.metrics.psnr: calculate_psnr needs `crop_border`"):
        build_metric({"type": "calculate_psnr"}, where="val.metrics.psnr")


@needs_basicsr
def test_basicsr_functions_are_as_strict_as_ours():
    with pytest.raises(ValueError, match="did you mean test_y_channel"):
        build_metric({"type": "basicsr:calculate_ssim", "crop_border": 0, "test_y_chanel": True})


def test_a_plugin_with_open_arguments_keeps_those_that_resemble_none(registered):
    def calculate_open(img, img2, window=3, **kwargs):
        return kwargs["colour"]

    registered(calculate_open)
    image = torch.zeros(3, 4, 4)
    assert build_metric({"type": "calculate_open", "colour": 7})(image, image) == 7
    with pytest.raises(ValueError, match="did you mean window"):
        build_metric({"type": "calculate_open", "windows": 7})


def test_unknown_metric():
    with pytest.raises(UnknownNameError, match="calculate_psnr"):
        build_metric({"type": "calculate_psnrr", "crop_border": 0})


def test_shape_mismatch_names_both_shapes():
    metric = build_metric({"type": "calculate_psnr", "crop_border": 0})
    with pytest.raises(ValueError, match=r"\[3, 8, 8\] .* \[3, 8, 9\]"):
        metric(torch.zeros(3, 8, 8), torch.zeros(3, 8, 9))


def test_a_missing_reference_is_named():
    metric = build_metric({"type": "calculate_psnr", "crop_border": 0})
    with pytest.raises(ValueError, match="compares with a ground truth"):
        metric(torch.zeros(3, 8, 8))
