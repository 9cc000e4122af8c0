"""Strategies against their formulas: the same with tiles as without, and together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from uir.inference.colour_strategy import low_frequencies
from uir.inference.enlarge_strategy import reduced
from uir.inference.input_strategy import areas, excess_contrast
from uir.inference.predictor import Place, Predictor, Running, predict
from uir.inference.restorer import Restorer
from uir.inference.strategies import STRATEGIES, enlarged, windows
from uir.layers.turns import turned, turned_back


class Blur(nn.Module):
    """A mean of 3×3 pixels that shifts to the right and darkens; `scale` repeats pixels."""

    def __init__(self, scale: int = 1, gain: float = 0.8) -> None:
        super().__init__()
        self.scale, self.gain = scale, gain

    def forward(self, lq: Tensor) -> Tensor:
        weight = torch.tensor([[0.0, 1, 0], [2, 1, 0], [0, 1, 1]]).expand(3, 1, 3, 3) / 6
        blurred = F.conv2d(F.pad(lq, (1, 1, 1, 1), mode="replicate"), weight, groups=3) * self.gain
        return F.interpolate(blurred, scale_factor=self.scale, mode="nearest")


@pytest.fixture(scope="module")
def photograph(photographs: list[Any]) -> Tensor:
    """[1, 3, 61, 75] in [0, 1]."""
    pixels = np.asarray(Image.open(photographs[0]).convert("RGB"))[100:161, 120:195]
    return torch.from_numpy(pixels / 255).float().permute(2, 0, 1)[None]


def test_turns_are_eight_and_each_is_undone() -> None:
    image = torch.arange(6).view(2, 3)
    turns = {tuple(turned(image, turn).flatten().tolist()) + tuple(turned(image, turn).shape) for turn in range(8)}
    assert len(turns) == 8
    assert all(torch.equal(turned_back(turned(image, turn), turn), image) for turn in range(8))


def test_the_ensemble_is_the_mean_over_flips_and_turns(photograph: Tensor) -> None:
    net = Blur()
    each = [
        torch.rot90(net(torch.rot90(image, k, (2, 3))), -k, (2, 3)).flip(flip)
        for flip in ([], [3])
        for image in [photograph.flip(flip)]
        for k in range(4)
    ]
    restored = Restorer(net).restore_tensor(photograph, ensemble=8)
    torch.testing.assert_close(restored, torch.stack(each).mean(0), atol=1e-6, rtol=0)


def test_noise_of_a_predictor_is_turned_with_the_image() -> None:
    class Noisy(Predictor):
        def conditions(self, whole: Any) -> dict[str, Any]:
            return {"noise": torch.rand(1, 3, *whole.size)}

        def run(self, lq: Tensor, conditions: Any, place: Place) -> Tensor:
            return lq - place.of(conditions["noise"])

        def extras(self, conditions: Any) -> dict[str, Any]:
            return dict(conditions)

    lq = torch.rand(1, 3, 6, 9)
    prediction = predict(Noisy({"g": nn.Identity()}), {"lq": lq}, Running(torch.device("cpu")), {"ensemble": 8})
    torch.testing.assert_close(prediction.restored, lq - prediction.extras["noise"])


@pytest.mark.parametrize("factor", [2, 3])
def test_reducing_is_pillows_lanczos(photograph: Tensor, factor: int) -> None:
    image = photograph[..., : 60 // factor * factor, : 75 // factor * factor]
    size = image.shape[-1] // factor, image.shape[-2] // factor
    planes = [
        np.asarray(Image.fromarray(plane.numpy(), "F").resize(size, Image.Resampling.LANCZOS)) for plane in image[0]
    ]
    torch.testing.assert_close(reduced(image, factor)[0], torch.from_numpy(np.stack(planes)), atol=1e-5, rtol=0)


def test_a_part_of_the_enlarged_image_is_that_of_the_whole(photograph: Tensor) -> None:
    read = enlarged(lambda rows, columns: photograph[..., rows, columns], (61, 75), 3)
    whole = F.interpolate(photograph, scale_factor=3, mode="bicubic")
    for rows, columns in ((slice(0, 20), slice(100, 225)), (slice(50, 183), slice(7, 8))):
        torch.testing.assert_close(read(rows, columns), whole[..., rows, columns], atol=1e-5, rtol=0)


def test_the_wavelet_fix_takes_the_inputs_low_frequencies(photograph: Tensor) -> None:
    restored = Restorer(Blur()).restore_tensor(photograph, colour_fix="wavelet")
    plain = Blur()(photograph)
    expected = plain - low_frequencies(plain) + low_frequencies(photograph)
    torch.testing.assert_close(restored, expected.clamp(0, 1), atol=1e-5, rtol=0)


def test_adain_gives_each_channel_the_inputs_mean_and_deviation(photograph: Tensor) -> None:
    restored = Restorer(Blur()).restore_tensor(photograph * 0.5 + 0.2, colour_fix="adain")
    for got, expected in zip(restored[0], photograph[0] * 0.5 + 0.2, strict=True):
        assert float(got.mean() - expected.mean()) == pytest.approx(0, abs=1e-3)
        assert float(got.std() / expected.std()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("scale", [1, 2])
def test_fidelity_one_is_the_input(photograph: Tensor, scale: int) -> None:
    restorer = Restorer(Blur(scale), scale=scale)
    expected = F.interpolate(photograph, scale_factor=scale, mode="bicubic").clamp(0, 1)
    torch.testing.assert_close(restorer.restore_tensor(photograph, fidelity=1), expected, atol=1e-5, rtol=0)
    half = restorer.restore_tensor(photograph, fidelity=0.5)
    torch.testing.assert_close(half, (expected + Blur(scale)(photograph)) / 2, atol=0.02, rtol=0)  # clipped before


def test_equal_images_have_no_artefacts(photograph: Tensor) -> None:
    assert torch.equal(excess_contrast(photograph, photograph), torch.ones(1, 61, 75))
    lighter = photograph * 0.5
    assert float(excess_contrast(lighter, photograph).min()) == 1  # less contrast is none either
    assert float(excess_contrast(photograph, lighter).min()) < 0.9


def test_small_areas_are_dropped_and_large_ones_kept() -> None:
    marked = torch.zeros(1, 80, 80, dtype=torch.bool)
    marked[0, 5:12, 5:12] = True
    marked[0, 30:60, 30:60] = True
    mask = areas(marked, 400)[0]
    assert mask[0:18, 0:18].max() == 0
    assert mask[35:55, 35:55].min() == pytest.approx(1)
    assert areas(marked, 4000).max() == 0


def test_an_invented_texture_is_replaced_by_the_input(photograph: Tensor) -> None:
    class Invents(nn.Module):
        def forward(self, lq: Tensor) -> Tensor:
            stripes = torch.zeros_like(lq)
            stripes[..., 20:50, 20:50:2] = 0.5
            return lq + stripes

    grey = photograph * 0.1 + 0.3
    assert (Restorer(Invents()).restore_tensor(grey) - grey).abs().max() > 0.4
    restored = Restorer(Invents()).restore_tensor(grey, artefacts=0.7, artefact_area=100)
    assert (restored - grey).abs().max() < 1e-3


ALL = {"ensemble": 8, "upscale": 2, "colour_fix": "wavelet", "fidelity": 0.25, "artefacts": 0.7, "artefact_area": 10}


@pytest.mark.parametrize("controls", [{name: value} for name, value in ALL.items()] + [ALL])
@pytest.mark.parametrize("scale", [1, 2])
def test_every_strategy_is_the_same_with_tiles(photograph: Tensor, controls: dict[str, Any], scale: int) -> None:
    whole = Restorer(Blur(scale), scale=scale).restore_tensor(photograph, **controls)
    tiled = Restorer(Blur(scale), scale=scale, tile=32, overlap=8).restore_tensor(photograph, **controls)
    assert whole.shape[-2:] == (61 * scale, 75 * scale)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


def test_windows_hold_each_row_once_with_its_neighbours() -> None:
    image = torch.arange(40.0).view(1, 1, 40, 1)
    rows = []
    for pixels, place, own in windows(iter(image.split([3, 1, 20, 9, 7], -2)), 4, 40, 2):
        assert torch.equal(pixels[..., own, :], image[..., place, :])
        assert pixels[0, 0, 0, 0] == max(place.start - 4, 0)
        assert pixels[0, 0, -1, 0] == min(place.stop + 4, 40) - 1
        rows += list(range(place.start, place.stop))
    assert rows == list(range(40))


def test_each_control_names_what_it_takes() -> None:
    with pytest.raises(ValueError, match="ensemble: expected a whole number from 1 up to 8, got 9"):
        Restorer(Blur()).restore_tensor(torch.zeros(1, 3, 4, 4), ensemble=9)
    with pytest.raises(ValueError, match="has no control 'ensembel'; did you mean ensemble"):
        Restorer(Blur()).restore_tensor(torch.zeros(1, 3, 4, 4), ensembel=2)


def test_a_predictors_own_control_hides_a_strategys() -> None:
    from uir.inference.controls import Control

    class Own(Predictor):
        controls = (Control("ensemble", "text", "Its own.", "few"),)

    predictor = Own({"g": nn.Identity()})
    assert [control.kind for control in predictor.offered if control.name == "ensemble"] == ["text"]
    assert predictor.read({"ensemble": "many"}) == ({"ensemble": "many"}, [])


def test_the_table_names_every_strategy() -> None:
    assert STRATEGIES.keys() == ["ArtefactMask", "ColourFix", "InputBlend", "SelfEnsemble", "UpProcessDown"]
