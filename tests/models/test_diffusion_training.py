"""Training of diffusion restorers: states and targets, patches, losses on images, and networks that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_configs import MODELS
from torch import Tensor

from uir.config.options import load_options
from uir.diffusion import gaussian, mean_reverting, residual
from uir.models.building import build_model

Write = Callable[..., Path]
METHODS = ("DiffUIRModel", "IRSDEModel", "RefusionModel", "WeatherDiffModel")


@pytest.fixture
def made(write_options: Write, pair_folders: Path) -> Callable[..., Any]:
    def build(method: str, **changes: Any) -> Any:
        file = write_options({**MODELS[method](pair_folders), "model_type": method, **changes})
        torch.manual_seed(0)
        model = build_model(load_options(file), torch.device("cpu"))
        generator = torch.Generator().manual_seed(1)
        gt, lq = torch.rand(2, 2, 3, 16, 16, generator=generator)
        model.feed_data({"lq": lq, "gt": gt})
        return model

    return build


@pytest.mark.parametrize("method", METHODS)
def test_a_perfect_estimate_has_no_loss_and_gives_the_clean_image(
    method: str, made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made(method)
    learned = model.value("learned")
    clean = model.clean_images()
    if method == "DiffUIRModel":
        perfect = learned.target
        lq, gt = 2 * model.lq - 1, 2 * clean - 1
        noise = residual.noise_of(
            learned.state[:1], (lq - gt)[:1], lq[:1], model.schedule.shares(int(learned.times[0]))
        )
        assert abs(float(noise.mean())) < 0.2
    elif method == "WeatherDiffModel":
        perfect = learned.target
        kept = gaussian.at(model.schedule.kept, learned.times, clean)
        torch.testing.assert_close(gaussian.noised(2 * clean - 1, perfect, kept), learned.state)
    else:
        if method == "RefusionModel":
            with torch.no_grad():
                clean = model.bare["l"].encode(clean)[0]
        perfect = mean_reverting.noise_of(learned.state, learned.degraded, clean, learned.times, model.schedule)
    model.net_g = lambda lq, noisy, timestep: perfect
    if method in ("DiffUIRModel", "WeatherDiffModel"):
        assert float(model.losses_of("diffusion_opt")["l_diffusion"]) == 0
    if method != "RefusionModel":
        torch.testing.assert_close(model.value("restored"), clean, atol=1e-3, rtol=0)


def test_patches_are_cut_at_the_same_places(made: Callable[..., Any]) -> None:
    model = made("WeatherDiffModel", **{"train.patches": 3})
    lq = torch.rand(2, 3, 40, 30)
    model.feed_data({"lq": lq, "gt": lq / 2})
    assert model.lq.shape == (6, 3, 16, 16)
    torch.testing.assert_close(model.gt, model.lq / 2)
    assert not torch.equal(model.lq[0], model.lq[1])


def test_every_second_image_gets_the_opposite_time(made: Callable[..., Any]) -> None:
    times: Tensor = made("WeatherDiffModel", **{"train.patches": 2}).value("learned").times
    assert torch.equal(times[:2] + times[2:], torch.full((2,), 49))


@pytest.mark.parametrize("method", METHODS)
def test_losses_on_images_go_beside_the_loss_on_the_estimate(method: str, made: Callable[..., Any]) -> None:
    model = made(method, **{"train.pixel_opt": {"type": "L1Loss"}})
    assert {"l_diffusion", "l_pix"} <= set(model.losses_of("diffusion_opt", "pixel_opt"))


@pytest.mark.parametrize(
    ("method", "network", "message"),
    [
        ("DiffUIRModel", {"type": "ConditionalUNet", "nf": 4, "depth": 1}, "use DiffUIR"),
        ("IRSDEModel", {"type": "DiffUIR", "dim": 8, "dim_mults": [1]}, "use ConditionalUNet or ConditionalNAFNet"),
        ("WeatherDiffModel", {"type": "NAFNet", "width": 4}, "use WeatherDiff"),
    ],
)
def test_a_network_of_another_diffusion_is_refused(
    method: str, network: dict[str, Any], message: str, made: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match=message):
        made(method, network_g=network)
