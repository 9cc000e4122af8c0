"""Noise in the choice of experts: left out, or drawn for each image from its name and a seed."""

import torch
from arch_configs import ARCH_CONFIGS

from uir.inference.predictor import Running, predict
from uir.inference.router_predictor import RouterPredictor
from uir.registry.components import build


def test_noise_depends_on_image_and_seed_alone():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build("archs", {"type": "uir:MoCEIR", **ARCH_CONFIGS["MoCEIR"]}).eval()
        lq = torch.rand(1, 3, 21, 30).repeat(2, 1, 1, 1)

        def restored(names: tuple[str, ...], **controls: object) -> torch.Tensor:
            batch = {"lq": lq[: len(names)], "lq_path": list(names)}
            return predict(RouterPredictor({"g": network}), batch, Running(torch.device("cpu")), controls).restored

        plain = restored(("a.png", "b.png"))
        noisy = restored(("a.png", "b.png"), router_noise="on")
    assert torch.equal(plain[0], plain[1])
    assert not torch.equal(noisy[0], noisy[1])
    torch.testing.assert_close(restored(("b.png",), router_noise="on")[0], noisy[1])
    assert not torch.equal(restored(("b.png",), router_noise="on", seed=1)[0], noisy[1])
