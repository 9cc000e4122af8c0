"""Protocols fix every choice, and refuse to be contradicted."""

import cv2
import pytest
import torch

from uir.metrics import PROTOCOLS, Protocol, psnr
from uir.metrics.protocols import resolve


def test_every_protocol_is_named_and_described():
    for name, protocol in PROTOCOLS:
        assert protocol.name == ("basicsr_y" if name == "sr_y" else name)
        assert protocol.description.endswith(".")
        assert protocol.source


def test_a_protocol_equals_its_choices_made_one_by_one():
    generator = torch.Generator().manual_seed(0)
    gt = torch.rand(3, 33, 34, generator=generator)
    restored = (gt + 0.05 * torch.randn(gt.shape, generator=generator)).clamp(0, 1)
    by_hand = psnr(restored, gt, color_space="y", rounding="uint8", round_luma=True)
    assert psnr(restored, gt, protocol="restormer_y") == by_hand
    assert psnr(restored, gt, protocol="maskdcpt") == psnr(restored, gt, rounding="none")
    assert psnr(restored, gt, protocol="dcpt") == psnr(restored, gt)


def test_an_argument_that_agrees_with_the_protocol_is_accepted():
    assert resolve("dcpt", color_space="rgb", crop_border=0) == PROTOCOLS.get("dcpt")


def test_an_argument_that_contradicts_the_protocol_is_refused():
    with pytest.raises(ValueError, match="color_space: 'y' contradicts protocol 'dcpt', which fixes 'rgb'"):
        resolve("dcpt", color_space="y")


def test_a_protocol_that_leaves_the_border_open_asks_for_it():
    with pytest.raises(ValueError, match="crop_border: protocol 'basicsr_y' leaves it open"):
        resolve("basicsr_y")
    assert resolve("basicsr_y", crop_border=4).describe() == "Y, border 4, uint8, protocol basicsr_y"


def test_an_older_name_is_the_same_protocol():
    assert resolve("sr_y", crop_border=4) == resolve("basicsr_y", crop_border=4)


def test_an_unknown_protocol_is_met_with_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean promptir"):
        resolve("prompt_ir")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"color_space": "Y"}, "color_space: expected rgb, y or yiq, got 'Y'"),
        ({"rounding": "int8"}, "rounding: expected uint8 or none, got 'int8'"),
        ({"crop_border": -1}, "crop_border: expected a whole number of at least 0, got -1"),
        ({"crop_border": "4"}, "crop_border: expected a whole number of at least 0, got '4'"),
        ({"multiple_of": 0}, "multiple_of: expected a whole number of at least 1, got 0"),
        ({"clip": False}, "clip: must be true with rounding 'uint8'"),
    ],
)
def test_choices_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Protocol(**arguments)


def test_description_names_every_choice_that_moves_the_number():
    protocol = Protocol(2, "y", "none", clip=False, round_luma=True, multiple_of=8)
    assert protocol.describe() == "Y rounded, border 2, unrounded, unclipped, multiple of 8"


def test_the_luma_of_yiq_is_the_grey_of_opencv():
    generator = torch.Generator().manual_seed(0)
    gt = (torch.rand(3, 33, 34, generator=generator) * 255).round() / 255
    restored = ((gt + 0.05 * torch.randn(gt.shape, generator=generator)).clamp(0, 1) * 255).round() / 255
    greys = [
        torch.from_numpy(cv2.cvtColor((image * 255).byte().permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY))[None] / 255
        for image in (restored, gt)
    ]
    assert psnr(restored, gt, color_space="yiq", round_luma=True) == pytest.approx(psnr(*greys).item(), abs=0.01)


def test_dasr_s_own_weights_of_the_luma_give_the_number_of_blindsr_y():
    generator = torch.Generator().manual_seed(0)
    gt = (torch.rand(3, 40, 44, generator=generator) * 255).round()
    restored = (gt + 5 * torch.randn(gt.shape, generator=generator)).clamp(0, 255).round()
    weights = torch.tensor([65.738, 129.057, 25.064], dtype=torch.float64)[:, None, None] / 256
    difference = ((restored - gt).double() / 255 * weights).sum(0)[4:-4, 4:-4]
    published = -10 * difference.square().mean().log10()
    measured = psnr(restored / 255, gt / 255, protocol="blindsr_y", crop_border=4)
    assert measured.item() == pytest.approx(published.item(), abs=1e-3)


def test_an_image_smaller_than_the_multiple_is_refused():
    with pytest.raises(ValueError, match="multiple_of: a 12×20 image is smaller than 16 pixels"):
        psnr(torch.zeros(3, 12, 20), torch.zeros(3, 12, 20), protocol="promptir")
