"""A user may name the degradation: OneRestore's scene, IDR's hub."""

from typing import Any

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from torch import nn

from uir.inference.hub_predictor import HubPredictor
from uir.inference.predictor import Prediction, Predictor, Running, predict
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
