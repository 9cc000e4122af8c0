"""Checkpoints without a card: the keys and shapes of the weights show the network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from small_networks import build_network
from torch import nn

from uir import Restorer
from uir.config.options import load_options
from uir.core.checkpoint import CheckpointError, published_state
from uir.core.state_keys import count_of, factor_of
from uir.engine.testing import test as run_test
from uir.inference.recognition import recognised

needs_spandrel = pytest.mark.skipif(find_spec("spandrel") is None, reason="spandrel is not installed")

OTHERS: dict[str, list[dict[str, Any]]] = {
    "NAFNet": [{}, {"img_channel": 1, "enc_blk_nums": [0, 2], "dec_blk_nums": [0, 1]}],
    "Baseline": [{}, {"dw_expand": 2, "ffn_expand": 3}],
    "HalfNAFNet": [{}, {"tone": 5}],
    "AdaIR": [{}],
    "DiffIRS1": [{}, {"n_encoder_res": 2, "ffn_expansion_factor": 2.66, "bias": True}],
    "DiffIRS2": [{}, {"timesteps": 3, "linear_start": 0.2, "n_denoise_res": 2}],
    "DiffUIR": [{}, {"dim_mults": [1, 2, 4]}],
    "InstructIR": [{}],
    "MoCEIR": [{"topk": 1}, {"topk": 1, "with_complexity": False, "num_experts": 3}],
    "Restormer": [
        {}, {"LayerNorm_type": "BiasFree", "bias": True, "ffn_expansion_factor": 2.0},
        {"inp_channels": 6, "dual_pixel_task": True},
    ],
    "PromptIR": [{}],
    "SwinIR": [
        {"num_feat": 64},
        {"upsampler": "pixelshuffle", "upscale": 3, "num_feat": 8},
        {"upsampler": "pixelshuffledirect", "upscale": 3},
        {"upsampler": "nearest+conv", "upscale": 4, "num_feat": 8, "resi_connection": "3conv", "embed_dim": 8},
        {"upsampler": "", "window_size": 7, "img_range": 255.0, "in_chans": 1, "upscale": 1},
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "changes"), [(name, changes) for name in OTHERS for changes in OTHERS[name]])
def test_the_weights_of_a_published_network_show_its_arguments(name: str, changes: dict[str, Any]) -> None:
    network = build_network(name, moved=0.1, **changes)
    arch = recognised(published_state(network), Path("it.pth"))
    assert arch.pop("type") == name
    again = _built(name, arch)
    again.load_state_dict(network.state_dict())
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in network.state_dict().items()
    }

    expected = {**ARCH_CONFIGS[name], **changes}
    assert {key: value for key, value in arch.items() if key in expected and value != expected[key]} == {}


def _built(name: str, arch: dict[str, Any]) -> nn.Module:
    from uir.registry.components import build

    network: nn.Module = build("archs", {"type": f"uir:{name}", **arch})
    return network


@pytest.mark.parametrize("name", ["TransWeather", "TransWeatherBase"])
def test_transweather_has_one_published_size(name: str) -> None:
    with torch.device("meta"):
        state = _built(name, {}).state_dict()
    published = {f"module.{key}": value for key, value in state.items()}
    assert recognised(published, Path("it.pth")) == {"type": name}
    with pytest.raises(CheckpointError, match=rf"it.pth: {name}: weights of other sizes .* num_heads; give the option"):
        recognised(build_network(name).state_dict(), Path("it.pth"))


@pytest.mark.parametrize("name", ["AdaIR", "MoCEIR", "PromptIR"])
def test_a_trainers_prefix_does_not_hide_a_network(name: str) -> None:
    state = build_network(name, topk=1).state_dict() if name == "MoCEIR" else build_network(name).state_dict()
    assert recognised({f"net.{key}": value for key, value in state.items()}, Path("it.pth"))["type"] == name


@pytest.mark.parametrize(("mult", "side"), [([1, 2, 3, 4], 64), ([1, 1, 2, 3, 4], 128)])
def test_weatherdiffs_published_sizes_show_their_patches(mult: list[int], side: int) -> None:
    network = _built("WeatherDiff", {"ch": 32, "ch_mult": mult, "resolution": side})
    arch = recognised({f"module.{key}": value for key, value in network.state_dict().items()}, Path("it.pth"))
    assert (arch["ch"], arch["ch_mult"], arch["resolution"]) == (32, mult, side)
    _built(arch.pop("type"), arch).load_state_dict(network.state_dict())


@pytest.mark.parametrize("name", ["ConditionalNAFNet", "ConditionalUNet"])
def test_weights_of_a_diffusion_do_not_show_its_noise(name: str) -> None:
    state = build_network(name).state_dict()
    with pytest.raises(CheckpointError, match=rf"it.pth: {name}: the weights do not show the diffusion .*max_sigma"):
        recognised(state, Path("it.pth"))


def test_a_recognised_network_restores_by_its_own_predictor(tmp_path: Path) -> None:
    network = build_network("DiffIRS2", moved=0.1)
    torch.save({"params": network.state_dict()}, tmp_path / "theirs.pth")
    restorer = Restorer.from_pretrained(tmp_path / "theirs.pth")
    assert {"steps", "seed"} <= {control.name for control in restorer.controls}
    assert restorer.restore_tensor(torch.rand(1, 3, 12, 17)).shape == (1, 3, 12, 17)


def test_a_recognised_network_that_needs_another_says_which(tmp_path: Path) -> None:
    torch.save(build_network("InstructIR").state_dict(), tmp_path / "theirs.pth")
    with pytest.raises(CheckpointError, match=r"InstructIR restores with a network_t, but its weights are not found"):
        Restorer.from_pretrained(tmp_path / "theirs.pth")


def test_dcpts_keys_are_known() -> None:
    network = build_network("RestormerDCPT")
    state = {key.replace("latent.", "latent.body."): value for key, value in network.state_dict().items()}
    assert recognised(state, Path("it.pth"))["type"] == "RestormerDCPT"
    nafnet = build_network("NAFNet").state_dict()
    state = {key.replace("decoders.", "decoder"): value for key, value in nafnet.items()}
    assert recognised(state, Path("it.pth"))["dec_blk_nums"] == ARCH_CONFIGS["NAFNet"]["dec_blk_nums"]


def test_what_the_weights_do_not_show_is_named() -> None:
    state = build_network("SwinIR", rel_pos_bias=False, attn_mask=False).state_dict()
    with pytest.raises(CheckpointError, match=r"it.pth: SwinIR: .* would show window_size and num_heads .* \(-opt\)"):
        recognised(state, Path("it.pth"))


def test_weights_that_nobody_knows_need_an_option_file(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "it.pth")
    with pytest.raises(CheckpointError, match=r"has no card .* of no network that uir recognises; .*-opt"):
        Restorer.from_pretrained(tmp_path / "it.pth")


def test_a_published_file_restores_without_an_option_file(tmp_path: Path) -> None:
    network = build_network("NAFNet", moved=0.1)
    torch.save({"params": network.state_dict()}, tmp_path / "theirs.pth")
    lq = torch.rand(1, 3, 12, 16)
    with torch.no_grad():
        expected = network(lq).clamp(0, 1)
    torch.testing.assert_close(Restorer.from_pretrained(tmp_path / "theirs.pth").restore_tensor(lq), expected)


def esrgan() -> dict[str, torch.Tensor]:
    """The weights of a small network that only spandrel knows, ESRGAN, under the keys of BasicSR."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"conv_first": (8, 3), "conv_body": (8, 8), "conv_up1": (8, 8), "conv_up2": (8, 8), "conv_hr": (8, 8)}
    shapes |= {f"body.0.rdb{i}.conv{j}": (32 if j < 5 else 8, 8 + 32 * (j - 1)) for i in (1, 2, 3) for j in range(1, 6)}
    shapes["conv_last"] = (3, 8)
    state = {}
    for name, (out, of) in shapes.items():
        state[f"{name}.weight"] = 0.1 * torch.randn(out, of, 3, 3, generator=generator)
        state[f"{name}.bias"] = torch.zeros(out)
    return state


@pytest.mark.thorough
@needs_spandrel
def test_what_spandrel_knows_restores_with_tiles(tmp_path: Path) -> None:
    torch.save({"params_ema": esrgan()}, tmp_path / "esrgan.pth")
    restorer = Restorer.from_pretrained(tmp_path / "esrgan.pth")
    assert restorer.scale == 4
    lq = torch.rand(1, 3, 40, 52)
    whole = restorer.restore_tensor(lq)
    assert whole.shape == (1, 3, 160, 208)
    tiled = Restorer.from_pretrained(tmp_path / "esrgan.pth", tile=32, overlap=16).restore_tensor(lq)
    torch.testing.assert_close(tiled, whole, atol=1e-3, rtol=0)


@needs_spandrel
def test_what_spandrel_knows_is_tested_like_every_network(write_options: Any, tmp_path: Path) -> None:
    state = build_network("NAFNet", moved=0.1).state_dict()
    torch.save(state, tmp_path / "theirs.pth")
    changes = {
        "network_g": {"type": "SpandrelNet", "file": str(tmp_path / "theirs.pth")}, "scale": 1, "plugins": None,
        "datasets": None, "train": None,
    }  # fmt: skip
    folder = tmp_path / "gt"
    clean = {"type": "DegradedImageDataset", "dataroot_gt": str(folder), "degradation": {"type": "GaussianNoise"}}
    from uir.core.images import write_image

    write_image(folder / "a.png", torch.rand(3, 24, 24))
    loaded = load_options(write_options({**changes, "datasets.val": clean}), is_train=False)
    (evaluation,) = run_test(loaded, quiet=True)
    assert evaluation.results["psnr"] > 0


@needs_spandrel
def test_a_file_that_spandrel_does_not_know_is_refused(tmp_path: Path) -> None:
    from uir.registry.components import build

    torch.save({"w": torch.ones(3)}, tmp_path / "it.pth")
    with pytest.raises(CheckpointError, match="spandrel knows no network with these weights"):
        build("archs", {"type": "SpandrelNet", "file": str(tmp_path / "it.pth")})


def test_modules_are_counted_and_factors_found() -> None:
    state = {"a.0.w": torch.ones(1), "a.3.w": torch.ones(1), "b.9.w": torch.ones(1)}
    assert [count_of(state, name) for name in ("a", "b", "c")] == [4, 10, 0]
    assert factor_of({48: int(48 * 2.66), 96: int(96 * 2.66)}, 2.66) == 2.66
    assert factor_of({8: 16, 16: 32}, 2.66) == 2.0
    assert factor_of({8: 16, 16: 99}, 2.66) is None
