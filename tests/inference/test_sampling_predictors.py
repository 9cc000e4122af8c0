"""Diffusion restorers: the same picture in any batch and for any tiles, controls, and steps that restore exactly."""

from __future__ import annotations

import pytest
import torch
from small_networks import build_network
from torch import Tensor, nn
from torch.nn import functional as F

from uir.archs.conditional_unet_arch import ConditionalUNet
from uir.archs.diffuir_arch import DiffUIR
from uir.diffusion import gaussian, mean_reverting
from uir.inference.mean_reverting_predictor import LatentMeanRevertingPredictor, MeanRevertingPredictor
from uir.inference.patch_predictor import PatchPredictor
from uir.inference.predictor import Predictor, Running, predict
from uir.inference.residual_predictor import ResidualPredictor

SIZE = (37, 70)


def predictor_of(method: str) -> Predictor:
    """A small predictor of a method, with weights that switch no branch off."""
    if method == "DiffUIR":
        return ResidualPredictor({"g": build_network("DiffUIR", moved=0.05)})
    if method == "IRSDE":
        return MeanRevertingPredictor({"g": build_network("ConditionalUNet", moved=0.05)})
    if method == "Refusion":
        latent = build_network("LatentUNet", moved=0.05)
        return LatentMeanRevertingPredictor({"g": build_network("ConditionalNAFNet", img_channel=4), "l": latent})
    return PatchPredictor({"g": build_network("WeatherDiff", moved=0.05)})


METHODS = ("DiffUIR", "IRSDE", "Refusion", "WeatherDiff")
CONTROLS = {"WeatherDiff": {"steps": 2, "stride": 8}}


def restored(method: str, images: Tensor, names: list[str], tile: int | None = None, **controls: object) -> Tensor:
    running = Running(torch.device("cpu"), tile=tile, overlap=8)
    batch = {"lq": images, "lq_path": names}
    return predict(predictor_of(method), batch, running, {**CONTROLS.get(method, {}), **controls}).restored


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_is_the_same_in_any_batch_and_another_for_another_seed(method: str, images: Tensor) -> None:
    both = restored(method, images, ["a", "b"])
    assert both.shape == images.shape
    assert both.isfinite().all()
    torch.testing.assert_close(restored(method, images[1:], ["b"]), both[1:], atol=1e-4, rtol=1e-4)
    assert not torch.equal(restored(method, images[1:], ["b"], seed=1), both[1:])


def test_tiles_do_not_change_what_patches_restored(images: Tensor) -> None:
    whole = restored("WeatherDiff", images, ["a", "b"])
    assert torch.equal(restored("WeatherDiff", images, ["a", "b"], tile=16), whole)


class Pointwise(nn.Module):
    """Estimates every pixel alone, of the state and the degraded image: tiles make no difference for it."""

    pad_multiple = 4

    def __init__(self, schedule: object) -> None:
        super().__init__()
        self.schedule, self.resolution = schedule, 16

    def forward(self, lq: Tensor, noisy: Tensor, timestep: Tensor) -> Tensor:
        return 0.3 * torch.sin(3 * noisy) + 0.2 * lq


class Squares(nn.Module):
    """Latents that are the means of squares of 4 pixels: tiles make no difference for them either."""

    pad_multiple, latent_channels, latent_stride = 8, 3, 4

    def encode(self, lq: Tensor) -> tuple[Tensor, list[Tensor]]:
        return F.avg_pool2d(lq, 4), [lq]

    def decode(self, latents: Tensor, hidden: list[Tensor], size: tuple[int, int]) -> Tensor:
        return F.interpolate(latents, size) + hidden[0]


@pytest.mark.parametrize(
    ("cls", "network", "controls"),
    [
        (LatentMeanRevertingPredictor, ConditionalUNet, {"steps": 4}),
        (ResidualPredictor, DiffUIR, {"sampler": "ddim", "eta": 1.0}),
        (MeanRevertingPredictor, ConditionalUNet, {"steps": 4, "sampler": "sde"}),
        (MeanRevertingPredictor, ConditionalUNet, {"steps": 4}),
    ],
)
def test_tiles_share_all_noise_with_the_whole_picture(cls, network, controls, images: Tensor) -> None:
    made = network(8).schedule if network is DiffUIR else mean_reverting.mean_reverting_schedule(20)
    predictor = cls({"g": Pointwise(made), "l": Squares()})
    whole, tiled = (
        predict(
            predictor, {"lq": images, "lq_path": ["a", "b"]}, Running(torch.device("cpu"), tile=t, overlap=4), controls
        )
        for t in (None, 16)
    )
    torch.testing.assert_close(tiled.restored, whole.restored, atol=1e-5, rtol=1e-5)
    still = predict(predictor, {"lq": images}, Running(torch.device("cpu")), {**controls, "eta": 0.0}).restored
    assert not torch.allclose(still, whole.restored, atol=1e-3)


class TrueNoise(nn.Module):
    """Knows the clean image, and so the noise in every state of patches that cover it at once."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean, self.resolution, self.schedule = 2 * clean - 1, clean.shape[-1], gaussian.gaussian_schedule()

    def forward(self, lq: Tensor, noisy: Tensor, timestep: Tensor) -> Tensor:
        return gaussian.noise_of(noisy, self.clean, gaussian.at(self.schedule.kept, timestep, noisy))


@pytest.mark.parametrize("controls", [{}, {"sampler": "ddpm"}, {"eta": 0.4, "steps": 5}])
def test_a_perfect_estimate_restores_exactly(controls: dict[str, object]) -> None:
    clean, lq = torch.rand(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    got = predict(PatchPredictor({"g": TrueNoise(clean)}), {"lq": lq}, Running(torch.device("cpu")), controls).restored
    torch.testing.assert_close(got, clean, atol=1e-4, rtol=0)


@pytest.mark.parametrize("control", ["sampler", "steps", "eta"])
@pytest.mark.parametrize("method", METHODS)
def test_every_sampler_has_its_controls(method: str, control: str) -> None:
    assert control in {entry.name for entry in predictor_of(method).controls}
