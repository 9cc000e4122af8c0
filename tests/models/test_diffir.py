"""DiffIR's two stages: the diffusion of the prior, what each loss trains, restoring by a prior of the whole image."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from model_configs import diffir_s2_changes
from small_networks import build_network

from uir.archs.diffir_arch import DiffIRS2
from uir.config.options import load_options
from uir.core.checkpoint import write_checkpoint
from uir.inference.predictor import Running, predict
from uir.inference.prior_predictor import CleanPriorPredictor, PriorPredictor
from uir.layers.prior_diffusion import kept_shares, posterior_weights
from uir.models.building import build_model

Write = Callable[..., Path]
SMALL = ARCH_CONFIGS["DiffIRS2"]


def test_the_schedule_is_the_published_one() -> None:
    kept = kept_shares(0.1, 0.99, 4)
    torch.testing.assert_close(torch.tensor(kept), torch.tensor([0.9, 0.635143, 0.259804, 0.002598]), atol=1e-6, rtol=0)
    weights = torch.tensor([posterior_weights(*pair) for pair in zip(kept, [1.0, *kept[:-1]], strict=True)])
    expected = torch.tensor([[1, 0], [0.765187, 0.230246], [0.63627, 0.315256], [0.505927, 0.074212]])
    torch.testing.assert_close(weights, expected, atol=1e-6, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_perfect_denoiser_ends_at_the_clean_prior(steps: int) -> None:
    diffusion = build_network("DiffIRS2").diffusion
    clean, visited = torch.randn(2, 12, generator=torch.Generator().manual_seed(0)), []

    class Perfect(torch.nn.Module):
        def forward(self, noisy: torch.Tensor, time: int, condition: torch.Tensor) -> torch.Tensor:
            visited.append(time)
            return clean

    diffusion.model = Perfect()
    noise = torch.randn(2, 12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(diffusion.denoised(clean, noise, steps), clean)
    assert (len(visited), visited[0]) == (steps, 3)
    assert visited == sorted(set(visited), reverse=True)


def test_more_steps_than_in_training_are_refused() -> None:
    diffusion = build_network("DiffIRS2").diffusion
    with pytest.raises(ValueError, match=r"steps: expected 1 to 4, the steps that the network was trained with, got 5"):
        diffusion.denoised(torch.zeros(1, 12), torch.zeros(1, 12), 5)


@torch.no_grad()
def test_noisy_priors_keep_their_variance() -> None:
    diffusion = build_network("DiffIRS2").diffusion
    generator = torch.Generator().manual_seed(0)
    noisy = diffusion.noisy(torch.randn(20000, generator=generator), torch.randn(20000, generator=generator))
    assert float(noisy.var()) == pytest.approx(1, abs=0.05)


def batch_of(count: int = 2) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    return {
        "lq": torch.rand(count, 3, 16, 16, generator=generator),
        "gt": torch.rand(count, 3, 16, 16, generator=generator),
    }


@pytest.mark.parametrize(("slots", "steered"), [(("prior_opt",), False), (("pixel_opt", "prior_opt"), True)])
def test_a_loss_on_the_prior_alone_leaves_the_u_net(
    write_options: Write, pair_folders: Path, slots: tuple[str, ...], steered: bool
) -> None:
    changes = {**diffir_s2_changes(pair_folders), "model_type": "DiffIRS2Model"}
    changes |= {} if "pixel_opt" in slots else {"train.pixel_opt": None}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(load_options(write_options(changes)), torch.device("cpu"))
        model.feed_data(batch_of())
        sum(model.compute_losses().values()).backward()
    assert (model.net_g.G.output.weight.grad is not None) is steered
    assert model.net_g.denoise.resmlp[0].weight.grad.any()
    assert model.net_g.condition.E[0].weight.grad.any()
    assert all(parameter.grad is None for parameter in model.net_s1.parameters())


def test_the_second_stage_starts_from_the_u_net_of_the_first() -> None:
    first, second = build_network("DiffIRS1"), build_network("DiffIRS2", seed=1)
    missing, unexpected = second.load_state_dict(first.state_dict(), strict=False)
    assert all(key.startswith("E.") for key in unexpected)
    assert all(key.startswith(("condition.", "denoise.", "diffusion.")) for key in missing)


def test_the_file_holds_the_published_keys_twice_and_the_network_holds_one_weight() -> None:
    network = DiffIRS2(**SMALL)
    state = network.state_dict()
    assert state["diffusion.model.resmlp.0.weight"].data_ptr() == state["denoise.resmlp.0.weight"].data_ptr()
    names = [name for name, _ in network.named_parameters()]
    assert not [name for name in names if name.startswith("diffusion.")]


@torch.no_grad()
def test_noise_depends_on_image_and_seed_alone() -> None:
    network = build_network("DiffIRS2", moved=0.2)
    lq = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0)).repeat(2, 1, 1, 1)

    def restored(names: tuple[str, ...], **controls: object) -> torch.Tensor:
        batch = {"lq": lq[: len(names)], "lq_path": list(names)}
        return predict(PriorPredictor({"g": network}), batch, Running(torch.device("cpu")), controls).restored

    both = restored(("a.png", "b.png"))
    assert not torch.equal(both[0], both[1])

    def differs(other: torch.Tensor) -> float:
        return float((other[0] - both[1]).norm() / both[1].norm())

    assert differs(restored(("b.png",))) < 1e-4
    assert differs(restored(("b.png",), seed=1)) > 1e-3
    assert differs(restored(("b.png",), steps=1)) > 1e-3


@torch.no_grad()
def test_every_tile_gets_the_prior_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network("DiffIRS2", moved=0.2)
    priors = []
    network.G.register_forward_pre_hook(lambda _module, inputs: priors.append(inputs[1]))
    batch = {"lq": torch.rand(1, 3, 48, 56), "lq_path": ["a.png"]}
    predict(PriorPredictor({"g": network}), batch, Running(torch.device("cpu"), tile=24, overlap=8), {})
    assert len(priors) > 4
    assert all(torch.equal(prior[:1], priors[0][:1]) for prior in priors)


@torch.no_grad()
def test_the_first_stage_uses_the_clean_image_or_says_that_it_has_none(caplog: pytest.LogCaptureFixture) -> None:
    network, batch = build_network("DiffIRS1", moved=0.2), {**batch_of(1), "lq_path": ["a.png"]}
    predictor, running = CleanPriorPredictor({"g": network}), Running(torch.device("cpu"))
    by_batch = predict(predictor, batch, running).restored
    torch.testing.assert_close(by_batch, network(batch["lq"], batch["gt"]))
    alone = {"lq": batch["lq"], "lq_path": ["a.png"]}
    assert torch.equal(predict(predictor, alone, running, {"reference": batch["gt"]}).restored, by_batch)
    with caplog.at_level(logging.WARNING, logger="uir"):
        torch.testing.assert_close(predict(predictor, alone, running).restored, network(batch["lq"]))
    assert "needs the clean image, which is not there" in caplog.text
    with pytest.raises(ValueError, match=r"reference: expected the size of the image, 16x16, got 8x16"):
        predict(predictor, alone, running, {"reference": batch["gt"][..., :8, :]})


def test_the_second_stage_takes_both_networks_from_the_first(
    write_options: Write, pair_folders: Path, tmp_path: Path
) -> None:
    first = build_network("DiffIRS1", seed=3)
    card = {"arch": {"type": "DiffIRS1", **ARCH_CONFIGS["DiffIRS1"]}, "role": "g"}
    write_checkpoint(tmp_path / "net_g_10.pth", {"params": first.state_dict(), "params_ema": first.state_dict()}, card)
    changes = {**diffir_s2_changes(pair_folders), "model_type": "DiffIRS2Model"}
    changes |= {"path.pretrain_network_g": str(tmp_path / "net_g_10.pth"), "train.ema_decay": 0.9}
    with torch.random.fork_rng(devices=[]):
        model = build_model(load_options(write_options(changes)), torch.device("cpu"))
    state = first.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in model.bare["s1"].state_dict().items())
    for network in (model.bare["g"], model.ema["g"].module):
        assert all(torch.equal(value, state[f"G.{key}"]) for key, value in network.G.state_dict().items())
