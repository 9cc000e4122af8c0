"""Presets: published recipes by name."""

from collections import Counter

import pytest
import torch

from uir.degradations import degrader
from uir.degradations.base import DrawContext
from uir.degradations.degrader import Degrader
from uir.degradations.preset import Preset
from uir.degradations.task_degradation import CDD11_CLASSES, CDD11_ORDER
from uir.registry import DEGRADATION_REGISTRY
from uir.registry.components import build

pytestmark = pytest.mark.thorough

PRESETS = [
    name
    for name in DEGRADATION_REGISTRY.keys()  # noqa: SIM118
    if issubclass(DEGRADATION_REGISTRY.get(name), Preset)
]
IMAGE = torch.rand(3, 48, 60, generator=torch.Generator().manual_seed(0))


def preset(name, **arguments):
    return build("degradations", {"type": name, **arguments})


def steps_of(recipe, count=300, size=(48, 60)):
    return [recipe.record(seed, size).steps for seed in range(count)]


def values(drawn, op, key, **where):
    return [
        step[key] for steps in drawn for step in steps
        if step["op"] == op and all(step.get(k) == v for k, v in where.items())
    ]  # fmt: skip


def assert_spans(found, low, high, share=0.9):
    """All in [low, high], and most of the range is used."""
    assert low <= min(found)
    assert max(found) <= high
    assert max(found) - min(found) >= share * (high - low)


def test_there_are_all_published_recipes():
    assert {
        "dcpt_5d", "dcpt_10d", "cdd11", "dasr_wang_iso", "dasr_wang_aniso", "dasr_liang", "manet", "bsrgan",
        "bsrgan_plus", "realesrgan", "random_order", "raim_defocus", "imagenet_c",
    } <= set(PRESETS)  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_preset_divides_the_size_by_its_scale(name):
    recipe = preset(name)
    for seed in range(6):
        degraded, record = Degrader(recipe, recipe.scale).image(IMAGE, seed)
        assert degraded.shape == (3, 48 // recipe.scale, 60 // recipe.scale)
        assert record.applied


@pytest.mark.parametrize("name", PRESETS)
def test_preset_gives_a_batch_of_one_size(name):
    recipe = preset(name)
    images = IMAGE[None].expand(4, -1, -1, -1)
    degraded, records = Degrader(recipe, recipe.scale).batch(images, [1, 2, 3, 4])
    assert degraded.shape[0] == 4
    sizes = [[(step["height"], step["width"]) for step in r.steps if step["op"] == "Resize"] for r in records]
    if name not in ("bsrgan", "bsrgan_plus"):  # there a shuffle decides how many there are behind one another
        assert all(own == sizes[0] for own in sizes if len(own) == len(sizes[0]))


@pytest.mark.parametrize("name", PRESETS)
def test_preset_grouped_as_on_a_device_gives_the_same_images(name):
    recipe = preset(name)
    images = IMAGE[None].expand(6, -1, -1, -1)
    degraded, records = Degrader(recipe, recipe.scale).batch(images, [1, 2, 3, 4, 5, 6])
    grouped = torch.stack(degrader._together(images, [list(record.steps) for record in records]))
    torch.testing.assert_close(grouped, degraded, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_draws_what_its_recipe_in_a_file_draws(name):
    recipe = preset(name)
    if name == "manet":
        pytest.skip("its second width is tied to the first, which a file cannot say")
    written = build("degradations", recipe.spec)
    for seed in range(5):
        assert recipe.record(seed, (48, 60)) == written.record(seed, (48, 60))


# ranges as published ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_dasr_wang_iso(scale):
    drawn = steps_of(preset("dasr_wang_iso", scale=scale))
    assert_spans(values(drawn, "IsotropicGaussianBlur", "sigma_px"), 0.2, float(scale))
    assert [step["op"] for step in drawn[0]] == ["IsotropicGaussianBlur", "Resize", "Quantise"]
    assert set(values(drawn, "Resize", "mode")) == {"matlab_bicubic"}
    assert set(values(drawn, "IsotropicGaussianBlur", "kernel_size")) == {21}


def test_dasr_wang_aniso():
    drawn = steps_of(preset("dasr_wang_aniso"))
    for key in ("sigma_x_px", "sigma_y_px"):
        assert_spans(values(drawn, "AnisotropicGaussianBlur", key), 0.2, 4.0)
    assert_spans(values(drawn, "AnisotropicGaussianBlur", "angle_deg"), 0, 180)
    assert_spans(values(drawn, "GaussianNoise", "sigma_255"), 0, 25)


@pytest.mark.parametrize(("scale", "low", "high"), [(2, 0.35, 5), (3, 0.525, 7.5), (4, 0.7, 10)])
def test_manet(scale, low, high):
    drawn = steps_of(preset("manet", scale=scale))
    first, second = (values(drawn, "AnisotropicGaussianBlur", f"sigma_{axis}_px") for axis in "xy")
    assert_spans(first, low, high)
    assert all(low <= small <= large for small, large in zip(second, first, strict=True))
    shares = torch.tensor([(b - low) / (a - low) for a, b in zip(first, second, strict=True)])
    assert abs(shares.mean() - 0.5) < 0.06
    assert set(values(drawn, "SFold", "scale")) == {scale}


@pytest.mark.thorough
def test_realesrgan():
    drawn = steps_of(preset("realesrgan"), 600, (400, 400))
    for stage, sigma, noise, poisson in (("first", 3, 30, 3), ("second", 1.5, 25, 2.5)):
        assert_spans(values(drawn, "IsotropicGaussianBlur", "sigma_px", stage=stage), 0.2, sigma)
        assert_spans(values(drawn, "GaussianNoise", "sigma_255", stage=stage), 1, noise)
        assert_spans(values(drawn, "PoissonNoise", "scale", stage=stage), 0.05, poisson)
        greys = values(drawn, "GaussianNoise", "grey", stage=stage)
        assert 0.3 < sum(greys) / len(greys) < 0.5
    first = Counter(steps[0]["op"] for steps in drawn)
    assert 0.06 < first["SincFilter"] / 600 < 0.14
    assert 0.35 < first["IsotropicGaussianBlur"] / 600 < 0.46  # 0.9 * 0.45
    scales = values(drawn, "Resize", "scale", stage="first")
    assert_spans(scales, 0.15, 1.5)
    assert 0.06 < sum(scale == 1 for scale in scales) / 600 < 0.15
    assert_spans([4 * scale for scale in values(drawn, "Resize", "scale", stage="second")], 0.3, 1.2)
    final = [[step for step in steps if step.get("stage") == "final"] for steps in drawn]
    assert {(s["height"], s["width"]) for steps in final for s in steps if s["op"] == "Resize"} == {(100, 100)}
    orders = Counter(tuple(step["op"] for step in steps if step["op"] != "SincFilter") for steps in final)
    assert set(orders) == {("Resize", "JPEG"), ("JPEG", "Resize")}
    assert 240 < orders["JPEG", "Resize"] < 360
    assert_spans(values(drawn, "JPEG", "quality"), 30, 95)
    assert {steps[-1]["op"] for steps in drawn} == {"Quantise"}


@pytest.mark.thorough
def test_dasr_liang_levels():
    recipe = preset("dasr_liang")
    drawn = steps_of(recipe, 600)
    levels = Counter(steps[0]["level"] for steps in drawn)
    assert 140 < levels["weak"] < 220
    assert 200 < levels["severe"] < 280
    weak = [steps for steps in drawn if steps[0]["level"] == "weak"]
    assert_spans(values(weak, "JPEG", "quality"), 90, 95)
    assert_spans(values(weak, "GaussianNoise", "sigma_255"), 1, 10)
    assert all(len(values([steps], "JPEG", "quality")) == 1 for steps in weak)
    context = DrawContext((48, 60), 5)
    mixed = {recipe.record(seed, (48, 60), None, context).steps[0]["level"] for seed in range(20)}
    legacy = {preset("dasr_liang", legacy=True).record(s, (48, 60), None, context).steps[0]["level"] for s in range(20)}
    assert len(mixed) > 1
    assert len(legacy) == 1


def test_bsrgan_keeps_the_order_of_its_down_samplings_and_ends_with_jpeg():
    drawn = steps_of(preset("bsrgan"))
    assert {steps[-1]["op"] for steps in drawn} == {"JPEG"}
    lasts = [[step for step in steps if step["op"] == "Resize"][-1] for steps in drawn]
    assert {(step["height"], step["width"]) for step in lasts} == {(12, 15)}
    assert len({tuple(step["op"] for step in steps) for steps in drawn}) > 100


@pytest.mark.parametrize(("scale", "widest"), [(2, 6), (3, 7)])
def test_bsrgan_draws_kernels_and_factors_as_published(scale, widest):
    drawn = steps_of(preset("bsrgan", scale=scale), 400)
    variances = [sigma**2 for sigma in values(drawn, "AnisotropicGaussianBlur", "sigma_x_px")]
    assert_spans(variances, 0, widest)
    assert sum(variances) / len(variances) == pytest.approx(widest / 2, rel=0.1)
    assert set(values(drawn, "AnisotropicGaussianBlur", "kernel_size")) == set(range(7, 26, 2))
    assert_spans(values(drawn, "IsotropicGaussianBlur", "sigma_px", kernel_size=9), 0, 2 + 0.2 * scale, share=0.8)
    factors = [1 / step["scale"] for steps in drawn for step in steps if step["op"] == "Resize"]
    factors = [factor for factor in factors if abs(factor - scale) > 1e-9]  # the last one's is the scale
    assert_spans(factors, 1, 2 * scale)
    assert sum(factors) / len(factors) == pytest.approx(0.5 + scale, rel=0.1)


def test_bsrgan_halves_a_quarter_first_and_goes_on_at_half_the_scale():
    drawn = steps_of(preset("bsrgan"), 600)
    halved = [
        steps for steps in drawn if steps[0].get("scale") == 0.5 and (steps[0]["height"], steps[0]["width"]) == (24, 30)
    ]
    assert 110 < len(halved) < 190
    widths = values(halved, "AnisotropicGaussianBlur", "sigma_x_px")
    assert 2.2 < max(widths) <= 6**0.5


def test_bsrgan_plus_has_the_photon_noise_of_bsrgan():
    drawn = steps_of(preset("bsrgan_plus"), 400)
    assert set(values(drawn, "PoissonNoise", "scale")) == {1}
    assert_spans(values(drawn, "PoissonNoise", "photons"), 1e2, 1e4)
    greys = values(drawn, "PoissonNoise", "grey")
    assert 0.35 < sum(greys) / len(greys) < 0.65


def test_random_order_comes_back_to_its_size():
    drawn = steps_of(preset("random_order"), 50)
    assert all(step["quality"] >= 60 for steps in drawn for step in steps if step["op"] == "JPEG")
    assert preset("random_order")(IMAGE, 3)[0].shape == IMAGE.shape


# tasks ------------------------------------------------------------------------------------------------------------


def test_cdd11_applies_its_primitives_in_the_published_order():
    op_of = {"low": "RetinexLowLight", "rain": "RainStreaks", "snow": "Snow", "haze": "Haze"}
    for name in CDD11_CLASSES:
        record = preset("cdd11", classes=[name]).record(0, (48, 60))
        expected = [op_of[part] for part in CDD11_ORDER if part in name.split("_")]
        assert [step["op"] for step in record.applied] == [*expected, "Clip"]
        assert record.label == name
    assert len(CDD11_CLASSES) == 11


@pytest.mark.parametrize(("name", "count"), [("dcpt_5d", 5), ("dcpt_10d", 10), ("cdd11", 11)])
def test_sets_of_tasks_draw_all_tasks_alike(name, count):
    recipe = preset(name)
    labels = Counter(recipe.record(seed, (48, 60)).label for seed in range(60 * count))
    assert set(labels) == set(recipe.labels)
    assert len(labels) == count
    assert min(labels.values()) > 30


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("realesrgan", {"scale": 5}, "realesrgan.scale: there is no scale 5; expected one of 1, 2, 3, 4"),
        ("realesrgan", {"codec": "PNG"}, "realesrgan.codec: expected JPEG or DiffJPEG, got 'PNG'"),
        ("dasr_wang_iso", {"scale": True}, "no scale True"),
        ("dasr_liang", {"weights": {"strong": 1}}, "expected some of weak, standard, severe"),
        ("cdd11", {"classes": ["hail"]}, "expected some of low, haze"),
        ("dcpt_5d", {"weights": {"rain": 1}}, "one number for each of"),
    ],
)
def test_mistakes_are_told(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        preset(name, **arguments)
