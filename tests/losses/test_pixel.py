"""Pixel losses: closed forms, basicsr, and the published numbers."""

import itertools
import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from uir.compat import load_basicsr
from uir.losses.pixel_loss import CharbonnierLoss, L1Loss, LogL1Loss, MSELoss, PSNRLoss, SplitL1Loss, WeightedTVLoss
from uir.metrics import psnr

FIXTURES = Path(__file__).resolve().parents[2] / "../shared/fixtures/losses"
NAMES = {"L1Loss": L1Loss, "MSELoss": MSELoss, "CharbonnierLoss": CharbonnierLoss}


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 6, 5, generator=generator), torch.rand(2, 3, 6, 5, generator=generator)


@pytest.mark.parametrize(
    ("loss", "expected"), [(L1Loss(), 0.25), (MSELoss(), 0.0625), (CharbonnierLoss(eps=0.09), math.sqrt(0.1525))]
)
def test_a_constant_difference(loss, expected):
    flat = torch.full((1, 3, 4, 4), 0.5)
    assert loss(flat + 0.25, flat).item() == pytest.approx(expected, rel=1e-6)


def test_sum_and_none_reduce_as_they_say(pair):
    elements = L1Loss(reduction="none")(*pair)
    assert elements.shape == pair[0].shape
    torch.testing.assert_close(L1Loss(reduction="sum")(*pair), elements.sum())


def test_mean_divides_by_the_sum_of_the_weights():
    difference = torch.tensor([[[[1.0, 2.0, 4.0]]]])
    weight = torch.tensor([[[[1.0, 3.0, 0.0]]]])
    assert L1Loss()(difference, torch.zeros_like(difference), weight) == pytest.approx(7 / 4)


def test_a_weight_of_one_channel_counts_for_all(pair):
    weight = torch.rand(2, 1, 6, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(MSELoss()(*pair, weight), MSELoss()(*pair, weight.expand(2, 3, 6, 5)))


@pytest.mark.parametrize("shape", [(3, 6, 5), (2, 2, 6, 5)])
def test_a_weight_that_does_not_fit_is_refused(pair, shape):
    with pytest.raises(ValueError, match=r"weight: expected the shape \[2, 3, 6, 5\]"):
        L1Loss()(*pair, torch.ones(shape))


def test_psnr_loss_is_the_negative_psnr(pair):
    expected = -psnr(*pair, rounding="none").mean().item()
    assert PSNRLoss()(*pair).item() == pytest.approx(expected, abs=1e-5)
    expected_on_luma = -psnr(*pair, rounding="none", color_space="y").mean().item()
    assert PSNRLoss(toY=True)(*pair).item() == pytest.approx(expected_on_luma, abs=1e-5)


def test_total_variation_of_a_ramp_is_its_slopes():
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    assert WeightedTVLoss()((0.1 * rows + 0.03 * columns)[None, None]).item() == pytest.approx(0.13, rel=1e-5)


def test_total_variation_ignores_what_has_no_weight():
    image = torch.zeros(1, 1, 4, 4)
    image[..., 3] = 1  # an edge between the last two columns
    weight = torch.ones(1, 1, 4, 4)
    weight[..., 2] = 0
    assert WeightedTVLoss()(image) > 0
    assert WeightedTVLoss()(image, weight) == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: L1Loss(reduction="average"), "reduction: expected mean, sum, none, got 'average'"),
        (lambda: WeightedTVLoss(reduction="none"), "reduction: expected mean, sum, got 'none'"),
        (lambda: PSNRLoss(reduction="sum"), "reduction: expected mean, got 'sum'"),
        (lambda: CharbonnierLoss(eps=0), "eps: expected a number above 0"),
    ],
)
def test_arguments_out_of_range_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_total_variation_needs_neighbours():
    with pytest.raises(ValueError, match=r"at least 2×2 pixels, got \[1, 3, 1, 8\]"):
        WeightedTVLoss()(torch.zeros(1, 3, 1, 8))


@pytest.mark.skipif(find_spec("basicsr") is None, reason="basicsr is not installed")
@pytest.mark.parametrize("weight_channels", [None, 1, 3])
@pytest.mark.parametrize(
    ("name", "reduction"),
    [*itertools.product(NAMES, ["mean", "sum", "none"]), ("WeightedTVLoss", "mean"), ("WeightedTVLoss", "sum")],
)
def test_equals_basicsr(pair, name, reduction, weight_channels):
    load_basicsr()
    from basicsr.losses import basic_loss

    generator = torch.Generator().manual_seed(1)
    weight = None if weight_channels is None else torch.rand(2, weight_channels, 6, 5, generator=generator)
    images = pair[:1] if name == "WeightedTVLoss" else pair
    own = {**NAMES, "WeightedTVLoss": WeightedTVLoss}[name](loss_weight=0.7, reduction=reduction)
    theirs = getattr(basic_loss, name)(loss_weight=0.7, reduction=reduction)
    torch.testing.assert_close(own(*images, weight), theirs(*images, weight), rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(not FIXTURES.exists(), reason="../shared/fixtures is absent")
def test_equal_the_published_numbers():
    stored = {key: torch.from_numpy(value) for key, value in np.load(FIXTURES / "pixel_losses/io.npz").items()}
    pair, weight = (stored["pred"], stored["target"]), stored["weight"]
    losses = {
        "l1": L1Loss(),
        "mse": MSELoss(),
        "charbonnier": CharbonnierLoss(),
        "charbonnier_eps1e-3": CharbonnierLoss(eps=1e-3),
    }
    for key, loss in losses.items():
        torch.testing.assert_close(loss(*pair), stored[key], rtol=1e-5, atol=0)
        torch.testing.assert_close(loss(*pair, weight), stored[f"{key}_weighted"], rtol=1e-5, atol=0)
    torch.testing.assert_close(L1Loss(2.0, "sum")(*pair), stored["l1_sum_lw2"], rtol=1e-5, atol=0)
    torch.testing.assert_close(WeightedTVLoss()(pair[0]), stored["tv"], rtol=1e-5, atol=0)
    torch.testing.assert_close(WeightedTVLoss()(pair[0], weight), stored["tv_weighted"], rtol=1e-5, atol=0)


@pytest.mark.skipif(not FIXTURES.exists(), reason="../shared/fixtures is absent")
def test_psnr_loss_and_its_gradient_equal_the_published_numbers():
    stored = {key: torch.from_numpy(value) for key, value in np.load(FIXTURES / "nafnet_psnr_loss/io.npz").items()}
    prediction = stored["pred"].requires_grad_()
    value = PSNRLoss()(prediction, stored["target"])
    value.backward()
    torch.testing.assert_close(value, stored["psnr_loss"], rtol=1e-5, atol=0)
    torch.testing.assert_close(prediction.grad, stored["grad_pred"], rtol=1e-5, atol=1e-7)
    on_luma = PSNRLoss(toY=True)(prediction, stored["target"])
    torch.testing.assert_close(on_luma, stored["psnr_loss_toY"], rtol=1e-5, atol=0)


def test_every_image_of_a_batch_has_its_own_logarithm() -> None:
    target = torch.zeros(2, 3, 4, 4)
    prediction = torch.stack([torch.full((3, 4, 4), 0.02), torch.full((3, 4, 4), -0.3)]).requires_grad_()
    value = LogL1Loss(loss_weight=2.0, eps=0.02)(prediction, target)
    assert value.item() == pytest.approx(math.log(2) + math.log(16), rel=1e-6)
    value.backward()
    gradient = prediction.grad[:, 0, 0, 0] * 48 * 2 / 2.0  # of one image's error, without the weight
    assert gradient.tolist() == pytest.approx([1 / 0.04, -1 / 0.32], rel=1e-5)


@pytest.mark.parametrize("eps", [0, -1.0, math.nan])
def test_the_smallest_error_of_a_logarithm_is_above_zero(eps: float) -> None:
    with pytest.raises(ValueError, match=r"LogL1Loss\.eps: expected a number above 0"):
        LogL1Loss(eps=eps)


def test_a_constant_error_is_coarse_and_a_pattern_within_a_square_is_fine() -> None:
    target = torch.zeros(1, 1, 12, 10)  # the squares at the edges are cut
    pattern = torch.tensor([[0.2, -0.2], [-0.2, 0.2]]).repeat(6, 5)[None, None]
    loss = SplitL1Loss(loss_weight=2.0, coarse_weight=0.25, cell=4)
    assert loss(target + 0.3, target).item() == pytest.approx(2 * 0.25 * 0.3, rel=1e-5)
    assert loss(pattern, target).item() == pytest.approx(2 * 0.2, rel=1e-5)
    assert loss(pattern + 0.3, target).item() == pytest.approx(2 * (0.2 + 0.25 * 0.3), rel=1e-5)


def test_a_split_error_of_every_image_has_its_own_logarithm() -> None:
    target = torch.zeros(2, 1, 8, 8)
    prediction = torch.stack([torch.full((1, 8, 8), 0.2), torch.full((1, 8, 8), -0.6)])
    value = SplitL1Loss(loss_weight=2.0, coarse_weight=0.1, eps=0.02)(prediction, target)
    assert value.item() == pytest.approx(math.log(2) + math.log(4), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"), [({"coarse_weight": -1}, "coarse_weight"), ({"cell": 1}, "cell"), ({"eps": 0}, "eps")]
)
def test_a_split_has_a_weight_and_squares(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=rf"SplitL1Loss\.{message}: expected"):
        SplitL1Loss(**arguments)
