"""Changes of resolution: exact means, OpenCV against torch, sizes, and what they refer to."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from uir.core.seeds import numpy_generator
from uir.degradations.base import DrawContext, apply_steps
from uir.degradations.pipeline_degradation import Sequence
from uir.degradations.resize_degradation import MODES, Choice, DownUp, Pixelate, Resize, SFold, resized
from uir.layers.resize import imresize, resample

IMAGE = torch.rand(3, 37, 50, generator=torch.Generator().manual_seed(0))
SIZES = [(13, 21), (37, 50), (20, 25), (61, 90), (12, 90), (80, 20), (1, 1), (38, 49)]


def exact_area(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Each line repeated and averaged in whole numbers: repeat by the output length, take means of the input length."""
    for dim, length in ((-2, size[0]), (-1, size[1])):
        image = image.repeat_interleave(length, dim).unflatten(dim, (length, image.shape[dim]))
        image = image.mean(dim)
    return image


@pytest.mark.parametrize("size", SIZES)
def test_area_is_the_mean_over_what_a_pixel_covers(size):
    expected = exact_area(IMAGE.double(), size)
    torch.testing.assert_close(resized(IMAGE.double(), size, "area"), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(resized(IMAGE, size, "area").double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
def test_the_fast_path_agrees_with_the_reference(mode, size):
    fast = resized(IMAGE, size, mode)
    torch.testing.assert_close(fast.double(), resized(IMAGE.double(), size, mode), rtol=0, atol=1e-4)
    assert fast.dtype == torch.float32


def test_lanczos_agrees_with_opencv():
    reference = cv2.resize(IMAGE[0].numpy(), (90, 61), interpolation=cv2.INTER_LANCZOS4)
    got = resample(IMAGE.double(), (61, 90), "lanczos")[0]
    torch.testing.assert_close(got, torch.from_numpy(reference).double(), rtol=0, atol=5e-5)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_other_modes_are_those_of_torch(mode):
    reference = F.interpolate(IMAGE[None], size=(61, 20), mode=mode)[0].clamp(0, 1)
    torch.testing.assert_close(resized(IMAGE, (61, 20), mode), reference, rtol=0, atol=1e-5)


def test_matlab_bicubic_is_matlabs():
    result, record = Resize(scale=0.25, modes="matlab_bicubic")(IMAGE[:, :36, :48], 0)
    torch.testing.assert_close(result, imresize(IMAGE[:, :36, :48], 0.25).clamp(0, 1))
    assert record.steps[0]["mode"] == "matlab_bicubic"


@pytest.mark.parametrize(("mode", "size"), [("bilinear", (9, 12)), ("matlab_bicubic", (10, 13))])
def test_sides_are_rounded_as_torch_and_matlab_do(mode, size):
    assert Resize(scale=0.25, modes=mode)(IMAGE, 0)[0].shape[1:] == size


def test_a_scale_written_with_few_digits_is_understood():
    assert Resize(scale=0.3333, modes="area")(torch.rand(3, 48, 300), 0)[0].shape == (3, 16, 100)
    assert Resize(scale=0.3334, modes="matlab_bicubic")(torch.rand(3, 48, 48), 0)[0].shape == (3, 16, 16)


def test_size_is_absolute():
    result, record = Resize(size=[20, 30])(IMAGE, 0)
    assert result.shape == (3, 20, 30)
    assert record.steps[0]["scale"] == pytest.approx((600 / 1850) ** 0.5)
    assert Resize(size=16)(IMAGE, 0)[0].shape == (3, 16, 16)


@pytest.mark.thorough
def test_directions_come_as_often_as_weighed_and_within_their_ranges():
    scales = np.array([Resize().sample(seed, (400, 400))["scale"] for seed in range(2000)])
    assert abs((scales > 1).mean() - 0.2) < 0.03
    assert abs((scales == 1).mean() - 0.1) < 0.03
    assert scales.min() >= 0.15
    assert scales.max() <= 1.5


def test_modes_come_as_often_as_weighed():
    op = Resize(scale=0.5, modes={"area": 3, "lanczos": 1})
    drawn = [op.sample(seed, (8, 8))["mode"] for seed in range(1000)]
    assert abs(drawn.count("area") / 1000 - 0.75) < 0.05
    assert set(drawn) == {"area", "lanczos"}


def test_a_direction_alone_is_the_only_one():
    scales = [Resize(down=[0.2, 0.4]).sample(seed, (100, 100))["scale"] for seed in range(50)]
    assert all(0.2 <= scale <= 0.4 for scale in scales)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_legacy_samples_at_steps_of_the_scale(mode):
    ramp = torch.linspace(0, 0.5, 50).expand(3, 37, 50)
    result, record = Resize(scale=0.73, modes=mode, legacy=True)(ramp, 0)
    assert record.steps[0]["legacy"] is True
    assert result.shape == (3, 27, 36)
    places = (torch.arange(36) + 0.5) / 0.73 - 0.5  # in pixels of the ramp, 0.5 / 49 each
    # fitted into 36 pixels, the ramp would be off by 0.007 at the far end; a = -0.75 itself is by 0.0005
    torch.testing.assert_close(result[0, 10, 2:-2], places[2:-2] * 0.5 / 49, rtol=0, atol=1e-3)


def test_legacy_leaves_at_least_a_pixel():
    assert Resize(scale=0.3, modes="bilinear", legacy=True)(torch.rand(3, 2, 7), 0)[0].shape == (3, 1, 2)
    assert Resize(scale=0.3, modes="area", legacy=True)(torch.rand(3, 1, 1), 0)[0].shape == (3, 1, 1)


def test_a_pipeline_ends_at_a_part_of_its_input():
    back = {"type": "Resize", "scale": 0.25, "of": "input"}
    pipeline = Sequence([{"type": "Resize"}, {"type": "Resize", "scale": [0.5, 1.2]}, back])
    for seed in range(10):
        result, record = pipeline(torch.rand(3, 64, 48), seed)
        assert result.shape == (3, 16, 12)
        assert record.steps[-1]["scale"] == 0.25


def test_keep_refers_to_the_input_too():
    op = Resize(of="input", up=[0.25, 0.3], down=[0.1, 0.25], keep=0.25, weights={"keep": 1})
    assert op.draw(0, (90, 90), DrawContext((80, 40)))[0]["height"] == 20


@pytest.mark.parametrize("op", [Resize(), SFold([2, 5])])
def test_a_batch_is_resized_alike(op):
    context = DrawContext((64, 64), batch_seed=5)
    first, second = (op.draw(seed, (64, 64), context) for seed in (1, 2))
    assert first == second
    assert first != op.draw(1, (64, 64), DrawContext((64, 64), batch_seed=6))
    assert op.changes_size


def test_each_with_its_own_parameters_equals_one_by_one():
    images = torch.rand(3, 3, 24, 20, generator=torch.Generator().manual_seed(1))
    for modes in (["area", "bicubic", "lanczos"], ["area"] * 3):
        params = [{"height": 11, "width": 30, "mode": mode, "scale": 0.5, "of": "current"} for mode in modes]
        one_by_one = torch.stack([Resize.apply(image, own) for image, own in zip(images, params, strict=True)])
        torch.testing.assert_close(Resize.apply_each(images, params), one_by_one, rtol=0, atol=1e-5)


def test_resizing_passes_gradients():
    image = IMAGE.clone().requires_grad_()
    for mode in MODES:
        (gradient,) = torch.autograd.grad(resized(image, (12, 70), mode).sum(), image)
        assert gradient.abs().sum() > 0


def test_s_fold_takes_every_fourth_pixel_from_the_first():
    result, record = SFold(4)(IMAGE, 0)
    assert torch.equal(result, IMAGE[:, ::4, ::4])
    assert record.steps == ({"op": "SFold", "scale": 4},)


def test_pixelation_by_a_whole_factor_is_the_block_mean():
    image = IMAGE[:, :36, :48]
    expected = F.avg_pool2d(image, 4).repeat_interleave(4, 1).repeat_interleave(4, 2)
    torch.testing.assert_close(Pixelate(0.25)(image, 0)[0], expected)


def test_pixelation_by_a_fraction_repeats_the_nearest_pixel():
    result, _ = Pixelate(0.4)(IMAGE, 0)
    small = resized(IMAGE, (14, 20), "area")
    rows = [int((row + 0.5) * 14 / 37) for row in range(37)]
    columns = [int((column + 0.5) * 20 / 50) for column in range(50)]
    assert torch.equal(result, small[:, rows][:, :, columns])


def test_down_and_up_keeps_the_size_and_flat_images():
    flat = torch.full((3, 37, 50), 0.3)
    torch.testing.assert_close(DownUp()(flat, 0)[0], flat)
    expected = imresize(imresize(IMAGE, size=(10, 13)).clamp(0, 1), size=(37, 50)).clamp(0, 1)
    torch.testing.assert_close(DownUp(0.25)(IMAGE, 0)[0], expected)


def test_records_can_be_edited():
    _, record = Resize(scale=0.5)(IMAGE, 0)
    edited = {**record.steps[0], "height": 7, "mode": "bilinear"}
    assert apply_steps(IMAGE, [edited]).shape == (3, 7, 25)


def test_severity_counts_octaves():
    assert Resize.severity({"scale": 0.25}) == pytest.approx(2 / 3)
    assert Resize.severity({"scale": 1.5}) == 0
    assert SFold.severity({"scale": 2}) == pytest.approx(1 / 3)
    assert Pixelate.severity({"scale": 0.01}) == 1


def test_a_choice_of_one_draws_nothing():
    choice = Choice.of("Op.mode", "area", MODES)
    assert choice.draw(3) == "area"
    several = Choice.of("Op.mode", ["area", "bicubic"], MODES)
    assert several.draw(3) == several.names[int(numpy_generator(3, "mode").choice(2, p=[0.5, 0.5]))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0}, r"Resize\.scale: must be at least 0\.001"),
        ({"scale": 0.5, "size": 3}, "Resize: use one of `scale`, `size`"),
        ({"scale": 0.5, "weights": {"up": 1}}, "Resize: use one of `scale`, `size`"),
        ({"size": 0}, r"Resize\.size: expected a side in pixels or \[height, width\], got 0"),
        ({"size": [3, 4, 5]}, r"Resize\.size: expected a side"),
        ({"modes": ["area", "cubic"]}, r"Resize\.modes: expected one or some of area, bilinear, .*got \['area', 'cub"),
        ({"modes": []}, r"Resize\.modes: expected one or some of"),
        ({"modes": {"area": -1}}, r"Resize\.modes: expected weights of at least 0"),
        ({"modes": {"area": 0}}, r"Resize\.modes: at least one weight must be above 0"),
        ({"weights": {"sideways": 1}}, r"Resize\.weights: expected one or some of up, down, keep"),
        ({"scale": 0.5, "of": "input", "legacy": True}, r"Resize\.legacy: .* needs a scale `of: current`"),
        ({"of": "output"}, r"Resize\.of: expected current or input, got 'output'"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Resize(**arguments)


def test_mistakes_of_the_others_are_named():
    with pytest.raises(ValueError, match=r"SFold\.scale: expected a whole number"):
        SFold(2.5)
    with pytest.raises(ValueError, match=r"Pixelate\.scale: must be between"):
        Pixelate(1.5)
    with pytest.raises(ValueError, match=r"DownUp\.up_modes: expected one or some of"):
        DownUp(up_modes="cubic")
    with pytest.raises(ValueError, match="resample: mode must be area"):
        resample(IMAGE, (3, 3), "nearest")


def test_factor_instead_of_scale_is_drawn_evenly():
    drawn = [Resize(scale=[0.125, 1], even_in="factor").sample(seed, (64, 64))["scale"] for seed in range(1000)]
    assert sum(1 / scale for scale in drawn) / 1000 == pytest.approx(4.5, rel=0.05)
    with pytest.raises(ValueError, match=r"Resize\.even_in: expected scale or factor, got 'side'"):
        Resize(even_in="side")
