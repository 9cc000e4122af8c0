"""Weights that uir writes load in the tools that people have, basicsr and spandrel (chaiNNer), and theirs in uir."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from small_networks import build_network, made_image, networks_of
from torch import Tensor, nn

from uir.compat.imports import prepare
from uir.core.checkpoint import digest, fit_state, load_weights, published_state, read_file, write_checkpoint
from uir.registry.components import build

pytestmark = pytest.mark.thorough

# Who knows a backbone's weights. A new backbone must be put into one of the two.
KNOWN_TO: dict[str, tuple[str, ...]] = {
    "MSRResNet": ("basicsr",),
    "NAFNet": ("spandrel",),
    "NAFNetLocal": ("spandrel",),  # as NAFNet, which gives the same on images of at most 1.5 times train_size
    "SwinIR": ("basicsr", "spandrel"),
}
KNOWN_TO_NEITHER = {
    "AdaIR", "Baseline", "Bicubic", "CDSR", "CRLSR", "ConditionalNAFNet", "ConditionalUNet", "ConditionedNet",
    "DACLIPUNet", "DASR", "DGRN", "DiffIRS1", "DiffIRS2", "DiffUIR", "ExpertNet", "GainNet", "HalfNAFNet", "IDR",
    "IMDN", "IMDNAdapted", "Identity", "InstructIR", "LIPSPADENet", "LatentUNet", "MSRResNetDynamic", "MoCEIR",
    "OneRestore", "Pix2PixUNet", "PromptIR", "Restormer", "RestormerDCPT", "SpandrelNet", "TransWeather",
    "TransWeatherBase", "WeatherDiff",
}  # fmt: skip
# The published SwinIR has 64 channels before its upsampler, whatever num_feat its author is asked for.
PUBLISHED: dict[str, list[dict[str, Any]]] = {
    "MSRResNet": [{}, {"num_in_ch": 3, "num_out_ch": 3, "upscale": 3}],
    "SwinIR": [
        {"num_feat": 64},
        {"img_size": 16, "upsampler": "pixelshuffledirect", "upscale": 3},
        {"img_size": 24, "upsampler": "nearest+conv", "upscale": 4, "num_feat": 64},
        {"img_size": 12, "upsampler": "", "upscale": 1, "in_chans": 1, "resi_connection": "3conv"},
    ],
}
# Of one window: nothing is shifted, and the published class has no masks. spandrel then expects those of 64 pixels.
ONE_WINDOW = {"img_size": 4, "upsampler": "", "upscale": 1}
CASES = [
    *((name, tool, changes) for name in KNOWN_TO for tool in KNOWN_TO[name] for changes in PUBLISHED.get(name, [{}])),
    ("SwinIR", "basicsr", ONE_WINDOW),
]
each_case = pytest.mark.parametrize(("name", "tool", "changes"), CASES)


def needs(tool: str) -> None:
    """Skip where a tool is not installed."""
    if find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed")


def own_network(name: str, changes: dict[str, Any], seed: int = 0) -> nn.Module:
    """A network far from its initial weights, so that no branch is switched off."""
    return build_network(name, seed, moved=0.1, **changes)


def written(network: nn.Module, file: Path) -> Path:
    write_checkpoint(file, {"params": published_state(network)}, {"arch": {"type": "it"}, "labels": ["haze"]})
    return file


def opened_by_spandrel(file: Path) -> Any:
    """The description of the model in a file, as chaiNNer opens it; spandrel loads strictly."""
    prepare()
    import spandrel

    return spandrel.ModelLoader().load_from_file(file)


def others_network(tool: str, name: str, changes: dict[str, Any], file: Path) -> nn.Module:
    """The other tool's network with the weights of a file that uir wrote, loaded strictly."""
    if tool == "spandrel":
        model: nn.Module = opened_by_spandrel(file).model.eval()
        return model
    arguments = {**ARCH_CONFIGS[name], **changes}
    if name == "SwinIR":
        arguments.pop("num_feat", None)
    network: nn.Module = build("archs", {"type": f"basicsr:{name}", **arguments}).eval()
    network.load_state_dict(read_file(file)["params"], strict=True)
    return network


def image_for(network: nn.Module) -> Tensor:
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    return made_image(16, 24)[:, : first.in_channels]


def assert_same(restored: Tensor, expected: Tensor) -> None:
    """Equal to 1e-5 of the spread: float32, added in another order."""
    spread = float(expected.std())
    assert spread > 0.05
    torch.testing.assert_close(restored, expected, atol=1e-5 * spread, rtol=0)


@each_case
@torch.no_grad()
def test_weights_load_strictly_and_give_the_same(name: str, tool: str, changes: dict[str, Any], tmp_path: Path) -> None:
    needs(tool)
    network = own_network(name, changes)
    other = others_network(tool, name, changes, written(network, tmp_path / "x.pth"))
    lq = image_for(network)
    assert_same(other(lq), network(lq))


@each_case
@torch.no_grad()
def test_the_other_tools_weights_load_strictly_here(
    name: str, tool: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    needs(tool)
    theirs = others_network(tool, name, changes, written(own_network(name, changes), tmp_path / "x.pth"))
    torch.save({"params": theirs.state_dict()}, tmp_path / "theirs.pth")
    network = own_network(name, changes, seed=1)
    assert load_weights(network, tmp_path / "theirs.pth") == "params"
    lq = image_for(network)
    assert_same(network(lq), theirs(lq))


@pytest.mark.parametrize("name", sorted(KNOWN_TO_NEITHER))
def test_no_other_tool_knows_these_weights(name: str, tmp_path: Path) -> None:
    needs("spandrel")
    network = own_network(name, {})
    if not network.state_dict():
        return
    prepare()
    import spandrel

    # spandrel takes some for a network that they extend, and then finds keys that this one does not have.
    with pytest.raises((spandrel.UnsupportedModelError, RuntimeError)):
        opened_by_spandrel(written(network, tmp_path / "x.pth"))


def test_every_backbone_is_decided_on(basicsr: Any) -> None:
    names = set(networks_of("backbone"))
    assert names == KNOWN_TO.keys() | KNOWN_TO_NEITHER
    assert not KNOWN_TO.keys() & KNOWN_TO_NEITHER
    theirs = {
        name for name, cls in basicsr.utils.registry.ARCH_REGISTRY if cls.__module__.startswith("basicsr.")
    }  # uir's own are mirrored into it
    known = {name for name, tools in KNOWN_TO.items() if "basicsr" in tools}
    assert names & theirs == known


def test_a_file_without_the_buffers_loads_too(tmp_path: Path) -> None:
    network, other = own_network("SwinIR", {}), own_network("SwinIR", {}, seed=1)
    write_checkpoint(tmp_path / "old.pth", {"params": network.state_dict()}, {})
    load_weights(other, tmp_path / "old.pth")
    torch.testing.assert_close(other.state_dict(), network.state_dict())


def test_the_card_counts_what_the_file_holds(tmp_path: Path) -> None:
    network = own_network("SwinIR", {})
    content = read_file(written(network, tmp_path / "x.pth"))
    assert len(content["params"]) > len(network.state_dict())
    assert content["card"]["sha256"]["params"] == digest(content["params"])


@pytest.mark.parametrize("sides", [(18, 18), (14, 19)])
def test_a_crop_that_cuts_a_window_has_the_masks_of_whole_windows(sides: tuple[int, int]) -> None:
    needs("basicsr")
    changes = {"upsampler": "", "upscale": 1}
    network = own_network("SwinIR", {**changes, "img_size": sides})
    whole = [-(-side // 4) * 4 for side in sides]
    arguments = {**ARCH_CONFIGS["SwinIR"], **changes, "img_size": whole}
    theirs = build("archs", {"type": "basicsr:SwinIR", **arguments})
    theirs.load_state_dict(published_state(network), strict=True)


@pytest.mark.parametrize("depths", [[2], [2, 2], [2, 2, 2]])
@pytest.mark.parametrize(("rel_pos_bias", "attn_mask"), [(True, False), (False, False), (False, True)])
def test_what_nobody_published_goes_back_and_is_not_taken_for_the_authors(
    depths: list[int], rel_pos_bias: bool, attn_mask: bool
) -> None:
    changes = {"depths": depths, "num_heads": [2] * len(depths), "rel_pos_bias": rel_pos_bias, "attn_mask": attn_mask}
    network, other = own_network("SwinIR", changes), own_network("SwinIR", changes, seed=1)
    state = published_state(network)
    assert not any(key.endswith("relative_position_index") for key in state)
    fit_state(other, state, "a test")
    torch.testing.assert_close(other.state_dict(), network.state_dict())
