"""A user may name the degradation: OneRestore's scene, IDR's hub, InstructIR's prompt."""

from pathlib import Path
from typing import Any

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from torch import nn

from uir.cli import main
from uir.core.checkpoint import write_checkpoint
from uir.inference.hub_predictor import HubPredictor
from uir.inference.predictor import Prediction, Predictor, Running, predict
from uir.inference.prior_predictor import PriorPredictor
from uir.inference.prompt_predictor import PromptPredictor
from uir.inference.scene_predictor import ScenePredictor
from uir.registry.components import build


def network_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build("archs", {"type": f"uir:{name}", **ARCH_CONFIGS[name]}).eval()


def restored_by(predictor: Predictor, tile: int | None = None, **controls: Any) -> Prediction:
    lq = torch.rand(2, 3, 37, 51, generator=torch.Generator().manual_seed(1))
    return predict(predictor, {"lq": lq}, Running(torch.device("cpu"), tile=tile, overlap=8), controls)


@pytest.mark.thorough
def test_the_scene_is_recognised_or_named():
    pytest.importorskip("timm")
    predictor = ScenePredictor({"g": network_of("OneRestore"), "e": network_of("SceneEmbedder")})
    blind = restored_by(predictor)
    assert restored_by(predictor, tile=24).extras["scene"] == blind.extras["scene"], "tiles share the image's scene"
    named = {scene: restored_by(predictor, scene=scene).restored for scene in ("low", "haze", "low_haze")}
    for index, scene in enumerate(blind.extras["scene"]):
        assert torch.equal(named[scene][index], blind.restored[index])
    assert not torch.equal(named["low"], named["haze"])
    with pytest.raises(ValueError, match="scene: expected one of low, haze, low_haze, got 'fog'"):
        restored_by(predictor, scene="fog")


def test_the_hub_is_mixed_or_named():
    predictor = HubPredictor({"g": network_of("IDR")})
    blind, rain, haze = (
        restored_by(predictor, **controls).restored for controls in ({}, {"hub": "rain"}, {"hub": "haze"})
    )
    assert not torch.equal(blind, rain)
    assert not torch.equal(rain, haze)
    with pytest.raises(ValueError, match="hub: expected one of noise, rain, haze, blur, low_light, got 'fog'"):
        restored_by(predictor, hub="fog")


def test_what_a_network_does_not_know_is_refused_before_an_image_is_read():
    """`predictor.read` comes before the first image: nothing is restored, nothing is written."""
    cases = [
        (HubPredictor({"g": network_of("IDR")}), {"hub": "fog"}, "hub: expected one of"),
        (PriorPredictor({"g": network_of("DiffIRS2")}), {"steps": 5}, "steps: expected 1 to 4"),
        (
            PromptPredictor({"g": network_of("InstructIR"), "t": network_of("PromptEncoder")}),
            {"prompt": "zzz"},
            "prompt: 'zzz' has no word that this network was trained with",
        ),
    ]
    for predictor, controls, message in cases:
        with pytest.raises(ValueError, match=message):
            predictor.read(controls)


def test_an_unknown_prompt_ends_the_command_with_2_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    networks = {"g": network_of("InstructIR"), "t": network_of("PromptEncoder")}
    for role, network in networks.items():
        arch = {"type": type(network).__name__, **ARCH_CONFIGS[type(network).__name__]}
        card = {"arch": arch, "predictor": {"type": "PromptPredictor"}} if role == "g" else {"arch": arch}
        write_checkpoint(tmp_path / f"net_{role}_latest.pth", {"params": network.state_dict()}, card)
    photo = Path(__file__).resolve().parents[2] / "datasets" / "demo" / "test" / "flower.jpg"
    command = ["restore", photo, "-o", tmp_path / "out", "--model", tmp_path / "net_g_latest.pth", "--device", "cpu"]
    with pytest.raises(SystemExit) as stop:
        main([*map(str, command), "--set", "prompt=zzz"])
    said = capsys.readouterr()
    assert (stop.value.code, said.out) == (2, "")
    assert "prompt: 'zzz' has no word that this network was trained with" in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
