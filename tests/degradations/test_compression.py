"""JPEG, WebP and quantisation."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from uir.degradations.compression_degradation import JPEG, DiffJPEG, Quantise, WebP
from uir.degradations.diffjpeg import diff_jpeg


def photograph(seed: int = 0, size: tuple[int, int] = (60, 70)) -> torch.Tensor:
    coarse = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")[0]


def through_pillow(image: torch.Tensor, form: str, **options: int) -> torch.Tensor:
    stream = io.BytesIO()
    Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy()).save(stream, form, **options)
    return torch.from_numpy(np.array(Image.open(stream).convert("RGB"))).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("quality", [10, 50, 95])
def test_jpeg_is_what_pillow_writes(quality):
    image = photograph()
    ours = JPEG.apply(image, {"quality": quality})
    assert (ours - through_pillow(image, "JPEG", quality=quality, subsampling=2)).abs().max() <= 1.01 / 255


@pytest.mark.parametrize("quality", [10, 50, 95])
def test_webp_is_what_pillow_writes(quality):
    image = photograph()
    theirs = through_pillow(image, "WEBP", quality=quality, method=4)
    assert (WebP.apply(image, {"quality": quality}) - theirs).abs().mean() < 1 / 255


@pytest.mark.parametrize("op", [JPEG, WebP, DiffJPEG])
def test_channels_stay_in_their_order(op):
    red = torch.zeros(3, 32, 32)
    red[0] = 0.9
    result, _ = op(quality=90)(red, 0)
    torch.testing.assert_close(result.mean((1, 2)), torch.tensor([0.9, 0.0, 0.0]), rtol=0, atol=0.03)


@pytest.mark.parametrize("op", [JPEG, WebP, DiffJPEG])
def test_lower_quality_is_further_from_the_image(op):
    image = photograph() + 0.1 * torch.randn(3, 60, 70, generator=torch.Generator().manual_seed(1))
    image = image.clamp(0, 1)
    errors = [(op(quality=quality)(image, 0)[0] - image).abs().mean() for quality in (90, 50, 10)]
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("op", [JPEG, WebP])
def test_codec_gives_eight_bits(op):
    result, _ = op(quality=40)(photograph(), 0)
    assert torch.equal(result, torch.round(result * 255) / 255)


@pytest.mark.parametrize("op", [JPEG, WebP, DiffJPEG])
def test_grey_image_stays_grey_and_near(op):
    grey = photograph()[:1]
    result, _ = op(quality=90)(grey, 0)
    assert result.shape == grey.shape
    assert (result - grey).abs().mean() < 0.02


@pytest.mark.parametrize("op", [JPEG, WebP])
def test_values_outside_0_1_are_clipped_not_wrapped(op):
    image = torch.full((3, 16, 16), 1.2)
    assert op(quality=95)(image, 0)[0].min() > 0.97


def test_qualities_are_whole_and_cover_the_range():
    drawn = {JPEG().sample(seed, (8, 8))["quality"] for seed in range(600)}
    assert all(type(quality) is int for quality in drawn)
    assert min(drawn) == 30
    assert max(drawn) == 95


def test_diff_jpeg_op_is_the_function():
    op = DiffJPEG(quality=[20, 80], differentiable=True)
    result, record = op(photograph(), 3)
    assert torch.equal(result, diff_jpeg(photograph(), record.steps[0]["quality"], differentiable=True))


def test_diff_jpeg_of_each_image_equals_one_by_one():
    images = torch.stack([photograph(seed) for seed in range(4)])
    params = [DiffJPEG().sample(seed, (60, 70)) for seed in range(4)]
    expected = torch.stack([DiffJPEG.apply(image, own) for image, own in zip(images, params, strict=True)])
    torch.testing.assert_close(DiffJPEG.apply_each(images, params), expected, rtol=0, atol=1e-5)
    mixed = [params[0], {**params[1], "differentiable": True}]
    assert DiffJPEG.apply_each(images[:2], mixed).shape == (2, 3, 60, 70)


@pytest.mark.parametrize(("levels", "expected"), [(2, [0.0, 0.0, 1.0, 1.0]), (5, [0.0, 0.25, 0.75, 1.0])])
def test_quantised_values_are_the_nearest_of_the_levels(levels, expected):
    image = torch.tensor([0.05, 0.3, 0.7, 0.95]).view(1, 2, 2)
    assert Quantise.apply(image, {"levels": levels}).flatten().tolist() == expected


def test_bits_are_the_logarithm_of_levels():
    assert Quantise(bits=3).sample(0, (4, 4)) == {"levels": 8}
    assert Quantise(levels=[7, 7]).sample(0, (4, 4)) == {"levels": 7}
    assert {Quantise().sample(seed, (4, 4))["levels"] for seed in range(100)} == {4, 8, 16, 32, 64}


@pytest.mark.parametrize("op", [JPEG, WebP, DiffJPEG, Quantise])
def test_severity_rises_and_stays_in_0_1(op):
    mild, medium, severe = (op.severity(op(**arguments).sample(0, (8, 8))) for arguments in op.severities)
    assert 0 < mild < medium < severe <= 1


@pytest.mark.parametrize(
    ("op", "arguments", "message"),
    [
        (JPEG, {"quality": 0}, r"JPEG\.quality: must be between 1 and 100"),
        (JPEG, {"quality": 30.5}, r"JPEG\.quality: expected a whole number"),
        (WebP, {"quality": [90, 30]}, r"WebP\.quality: the range"),
        (DiffJPEG, {"legacy": 1}, r"DiffJPEG\.legacy: expected true or false"),
        (Quantise, {"bits": 0}, r"Quantise\.bits: must be between 1 and 16"),
        (Quantise, {"bits": 2, "levels": 4}, "give one of them"),
    ],
)
def test_mistakes_are_named(op, arguments, message):
    with pytest.raises(ValueError, match=message):
        op(**arguments)


@pytest.mark.parametrize("op", [JPEG, WebP])
def test_images_that_the_codec_cannot_hold_are_refused(op):
    with pytest.raises(ValueError, match=r"expected 1 or 3 channels, got shape \[2, 8, 8\]"):
        op()(torch.zeros(2, 8, 8), 0)
