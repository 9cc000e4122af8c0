"""The drop-in matrix: every encoder with every modulator in every body, by the option file alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from blind_sr_options import changes

from uir.config.options import load_options
from uir.data.building import training_stream
from uir.engine.train_loop import train
from uir.models.building import build_model

pytestmark = pytest.mark.thorough

Write = Callable[..., Path]
WIDTHS = [4, 6, 8]
ENCODERS: dict[str, dict[str, Any]] = {
    "conv_bn": {"type": "ConvBN6Encoder", "widths": WIDTHS},
    "cbde": {"type": "CBDE", "widths": WIDTHS},
    "cdsr": {"type": "CDSREncoder", "widths": WIDTHS, "codebook_size": 16},
    "resnet18": {"type": "TimmEncoder", "trunk": "resnet18"},
}
MY_ENCODER = '''
from torch import Tensor, nn

from uir.layers.degradation_code import DegradationCode
from uir.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class MyEncoder(nn.Module):
    """Mean-pooled features as a degradation code. Input [B, 3, H, W] in [0, 1]; `vector` [B, width]."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.code_channels = width
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, stride=2, padding=1), nn.GELU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, image: Tensor) -> DegradationCode:
        return DegradationCode(vector=self.body(image).flatten(1)PROJECTION)
'''


def restorer(body: str, modulator: str) -> dict[str, Any]:
    return {"type": "ConditionedNet", "scale": 2, "body": body, "modulator": modulator, "num_feat": 8, "num_block": 1}


@pytest.mark.parametrize("body", ["dasr", "rrdb", "nafnet"])
@pytest.mark.parametrize("modulator", ["da_conv", "sft", "stretch"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_trains_two_iterations(
    write_options: Write, pair_folders: Path, encoder: str, modulator: str, body: str
) -> None:
    if encoder == "resnet18" and importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    more = {"network_e": ENCODERS[encoder], "network_g": restorer(body, modulator)}
    loaded = load_options(write_options(changes(pair_folders, **more)))
    torch.manual_seed(0)
    model = build_model(loaded, torch.device("cpu"))
    before = {role: [p.clone() for p in model.bare[role].parameters()] for role in model.roles()}
    stream = training_stream(loaded)
    for iteration in (1, 2):
        model.update_learning_rate(iteration)
        model.feed_data(stream.next())
        model.optimize_parameters(iteration)
    for role, parameters in before.items():  # NAFNet's residual scales start at 0: what lies behind them moves second
        moved = [not torch.equal(p, q) for p, q in zip(model.bare[role].parameters(), parameters, strict=True)]
        assert sum(moved) > 0.7 * len(moved), role
    assert set(model.log_dict) == {"l_pix", "l_contrastive"}
    assert model.bare["g"].compress[0].in_features == model.bare["e"].code_channels


def test_a_map_steers_too(write_options: Write, pair_folders: Path) -> None:
    more = {"network_e": ENCODERS["cbde"], "network_g": {**restorer("dasr", "sft"), "condition": "map"}}
    model = build_model(load_options(write_options(changes(pair_folders, **more))), torch.device("cpu"))
    assert model.bare["g"].compress[0].in_channels == 4


@pytest.mark.parametrize("contrast", [False, True])
def test_an_encoder_of_one_s_own_needs_nothing_but_its_file(
    write_options: Write, pair_folders: Path, contrast: bool
) -> None:
    more: dict[str, Any] = {
        "plugins": ["./my_encoder.py"],
        "network_e": {"type": "MyEncoder", "width": 12},
        "network_g": restorer("dasr", "sft"),
        "train.total_iter": 2,
    }
    if not contrast:
        more["train.contrastive_opt"] = None
    file = write_options(changes(pair_folders, **more))
    projection = ", projection=self.body(image).flatten(1)" if contrast else ""
    name = f"MyEncoder{contrast}"  # the registry is that of the whole session
    (file.parent / "my_encoder.py").write_text(
        MY_ENCODER.replace("PROJECTION", projection).replace("class MyEncoder", f"class {name}")
    )
    file.write_text(file.read_text().replace("type: MyEncoder", f"type: {name}"))
    folder = train(load_options(file))
    assert (folder / "models" / "net_e_latest.pth").exists()
