"""SwinIR and DCPT's variant: against basicsr's, at any size, and through every form of published weights."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from uir.archs.swinir_arch import SwinIR
from uir.core.checkpoint import CheckpointError, fit_state
from uir.layers.drop_path import DropPath
from uir.layers.features import FeaturePoint, FeatureTap
from uir.registry.components import build

SMALL = {
    "img_size": 16, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4, "mlp_ratio": 2,
    "upscale": 1, "drop_path_rate": 0.0,
}  # fmt: skip
DCPT = {**SMALL, "depths": [1, 2, 1, 1, 2, 1], "num_heads": [2] * 6, "rel_pos_bias": False, "attn_mask": False}
needs_basicsr = pytest.mark.skipif(find_spec("basicsr") is None, reason="basicsr is not installed")


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def randomized(network: nn.Module) -> nn.Module:
    """In float64, far from the initial weights."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return network.double()


@pytest.mark.thorough
@needs_basicsr
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"in_chans": 1, "img_size": 12, "img_range": 255.0, "qkv_bias": False, "qk_scale": 0.3},
        {"upscale": 3, "upsampler": "pixelshuffle", "resi_connection": "3conv", "num_feat": 64},
        {"upscale": 2, "upsampler": "pixelshuffledirect", "patch_norm": False},
        {"upscale": 4, "upsampler": "nearest+conv", "img_size": 4},  # no larger than a window: none is shifted
    ],
)
@pytest.mark.parametrize("size", [(16, 16), (8, 20)])
def test_restores_and_learns_as_basicsr_does(options, size):
    arguments = {**SMALL, **options}
    ours = randomized(SwinIR(**arguments))
    reference = build("archs", {"type": "basicsr:SwinIR", **arguments}).double()
    reference.load_state_dict(ours.published_state_dict(), strict=True)
    lq = torch.rand(2, arguments.get("in_chans", 3), *size, dtype=torch.float64)
    restored, expected = ours(lq), reference(lq)
    torch.testing.assert_close(restored, expected)
    weight = torch.randn_like(expected)
    (restored * weight).sum().backward()
    (expected * weight).sum().backward()
    gradients = {key: parameter.grad for key, parameter in ours.named_parameters()}
    torch.testing.assert_close(gradients, {key: parameter.grad for key, parameter in reference.named_parameters()})


@needs_basicsr
def test_weights_of_another_crop_size_load_strictly():
    source = build("archs", {"type": "basicsr:SwinIR", **SMALL, "img_size": 24})
    assert any(key.endswith("attn_mask") for key in source.state_dict())
    network = SwinIR(**SMALL)
    network.load_state_dict(source.state_dict(), strict=True)
    lq = torch.rand(1, 3, 24, 24)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(lq), source.eval()(lq))
    fit_state(SwinIR(**SMALL), source.state_dict(), "a test")


@pytest.mark.parametrize("size", [(10, 13), (1, 1), (3, 30)])
def test_other_sizes_are_reflected_and_cropped(size):
    network = randomized(SwinIR(**{**SMALL, "upscale": 2, "upsampler": "pixelshuffledirect"}))
    lq = torch.rand(1, 3, *size, dtype=torch.float64)
    below, right = -size[0] % 4, -size[1] % 4
    mode = "reflect" if below < size[0] and right < size[1] else "replicate"
    padded = F.pad(lq, (0, right, 0, below), mode=mode)
    restored = network(lq)
    assert restored.shape == (1, 3, 2 * size[0], 2 * size[1])
    torch.testing.assert_close(restored, network(padded)[..., : 2 * size[0], : 2 * size[1]])


def test_without_gradients_nothing_changes():
    network, lq = randomized(SwinIR(**SMALL)), torch.rand(2, 3, 12, 20, dtype=torch.float64)
    with torch.no_grad():
        restored = network(lq)
    torch.testing.assert_close(restored, network(lq))


@pytest.mark.parametrize(
    ("upsampler", "upscales"),
    [
        ("", [1]),
        ("pixelshuffle", [1, 2, 3, 4, 8]),
        ("pixelshuffledirect", [1, 2, 3, 4, 8]),
        ("nearest+conv", [1, 2, 4, 8]),
    ],
)
def test_every_upsampler_enlarges_as_it_says(upsampler, upscales):
    for upscale in upscales:
        network = SwinIR(**{**SMALL, "upsampler": upsampler, "upscale": upscale})
        assert network.scale == upscale
        assert network(torch.rand(1, 3, 8, 12)).shape == (1, 3, 8 * upscale, 12 * upscale)


def test_a_network_without_an_upsampler_keeps_the_size():
    network = SwinIR(**{**SMALL, "upscale": 2, "upsampler": None})
    assert network.scale == 1
    assert network(torch.rand(1, 3, 8, 8)).shape == (1, 3, 8, 8)


def test_feature_points_are_those_of_dcpt():
    network, lq = SwinIR(**DCPT), torch.rand(2, 3, 10, 30)
    assert network.feature_points() == [FeaturePoint(f"layers.{i}", 8, 1, "tokens") for i in (3, 4, 5)]
    restored, features = FeatureTap(network, stop_at_last=True)(lq)
    assert restored is None
    assert [feature.shape for feature in features] == [(2, 12 * 32, 8)] * 3


def test_tokens_lie_row_by_row_whatever_the_aspect_ratio():
    network, maps = SwinIR(**SMALL), []
    network.conv_after_body.register_forward_pre_hook(lambda _module, args: maps.append(args[0]))
    _, (tokens,) = FeatureTap(network)(torch.rand(1, 3, 8, 20))
    for y, x in ((0, 0), (1, 19), (7, 3)):
        torch.testing.assert_close(network.norm(tokens[0, 20 * y + x]), maps[0][0, :, y, x])


def test_checkpoints_of_dcpt_load_strictly_and_go_back():
    source, network = randomized(SwinIR(**DCPT)), SwinIR(**DCPT).double()
    dcpt = source.published_state_dict()
    firsts = [key for key in dcpt if key.endswith("blocks.0.norm1.weight")]
    assert [key.partition(".residual_group")[0] for key in firsts] == [
        "encode_layers.0", "encode_layers.1", "encode_layers.2", "decode_layers0", "decode_layers1", "decode_layers2",
    ]  # fmt: skip
    fit_state(network, dcpt, "a test")
    torch.testing.assert_close(network.state_dict(), source.state_dict())


def test_halves_of_other_sizes_are_numbered_on():
    state = {"encode_layers.0.conv.bias": torch.zeros(1), "decode_layers0.conv.bias": torch.ones(1)}
    assert list(SwinIR.convert_state_dict(state)) == ["layers.0.conv.bias", "layers.1.conv.bias"]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("held", "flag"), [(True, "rel_pos_bias: true"), (False, "rel_pos_bias: false")])
def test_refuses_weights_whose_tables_would_be_lost_or_missing(held, flag, strict):
    source = SwinIR(**{**SMALL, "rel_pos_bias": held, "attn_mask": held})
    network = SwinIR(**{**SMALL, "rel_pos_bias": not held, "attn_mask": not held})
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=flag):
        network.load_state_dict(source.state_dict(), strict=strict)
    torch.testing.assert_close(network.state_dict(), before)
    with pytest.raises(ValueError, match="relative_position"):
        fit_state(network, source.state_dict(), "a test", strict)


@pytest.mark.parametrize("strict", [True, False])
def test_refuses_weights_whose_masks_would_be_lost(strict):
    published = SwinIR(**SMALL).published_state_dict()
    network = SwinIR(**SMALL, attn_mask=False)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"a file: .*trained with masks .*attn_mask: true"):
        fit_state(network, published, "a file", strict)
    with pytest.raises(ValueError, match="trained with masks"):
        network.load_state_dict(published, strict=strict)
    torch.testing.assert_close(network.state_dict(), before)


def test_refuses_masks_for_weights_of_dcpt():
    published = SwinIR(**DCPT).published_state_dict()
    with pytest.raises(ValueError, match=r"trained without masks .*attn_mask: false"):
        fit_state(SwinIR(**{**DCPT, "attn_mask": True}), published, "a file")


@pytest.mark.parametrize("attn_mask", [True, False])
def test_weights_that_tell_nothing_of_masks_load(attn_mask):
    own = SwinIR(**SMALL).state_dict()
    network = SwinIR(**SMALL, attn_mask=attn_mask)
    fit_state(network, own, "a file")
    torch.testing.assert_close(network.state_dict(), own)


@pytest.mark.parametrize("attn_mask", [True, False])
def test_the_card_tells_of_masks(attn_mask):
    own = SwinIR(**SMALL).state_dict()
    card = {"arch": {"type": "SwinIR", **SMALL, "attn_mask": attn_mask}}
    fit_state(SwinIR(**SMALL, attn_mask=attn_mask), own, "a file", card=card)
    with pytest.raises(CheckpointError, match=f"a file: .*build it with attn_mask: {str(attn_mask).lower()}"):
        fit_state(SwinIR(**SMALL, attn_mask=not attn_mask), own, "a file", card=card)


def test_the_flags_switch_tables_and_masks():
    full = randomized(SwinIR(**SMALL))
    bare = SwinIR(**SMALL, rel_pos_bias=False, attn_mask=False).double()
    unmasked = SwinIR(**SMALL, attn_mask=False).double()
    unmasked.load_state_dict(full.state_dict())
    lq = torch.rand(1, 3, 8, 16, dtype=torch.float64)
    assert not torch.allclose(full(lq), unmasked(lq))
    tables = {key: value for key, value in unmasked.state_dict().items() if key.endswith("bias_table")}
    bare.load_state_dict({key: value for key, value in full.state_dict().items() if key not in tables})
    assert not torch.allclose(unmasked(lq), bare(lq))
    unmasked.load_state_dict(full.state_dict() | {key: torch.zeros_like(value) for key, value in tables.items()})
    torch.testing.assert_close(unmasked(lq), bare(lq))


def test_checkpointing_changes_no_gradient():
    lq, gradients = torch.rand(1, 3, 8, 12, dtype=torch.float64), []
    network = randomized(SwinIR(**SMALL))
    for use_checkpoint in (False, True):
        for layer in network.layers:
            layer.residual_group.use_checkpoint = use_checkpoint
        gradients.append(torch.autograd.grad(network(lq).square().sum(), list(network.parameters())))
    torch.testing.assert_close(*gradients)


def test_dropout_and_stochastic_depth_work_in_training_only():
    drops = {"drop_rate": 0.2, "attn_drop_rate": 0.2, "drop_path_rate": 0.3}
    network, lq = SwinIR(**{**SMALL, **drops}), torch.rand(1, 3, 8, 12)
    rates = [module.rate for module in network.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert not torch.equal(network(lq), network(lq))
    network.eval()
    assert torch.equal(network(lq), network(lq))


def test_a_value_for_every_place_needs_images_of_the_crops_size():
    network = SwinIR(**{**SMALL, "img_size": [8, 12], "ape": True})
    assert network(torch.rand(1, 3, 7, 12)).shape == (1, 3, 7, 12)
    with pytest.raises(ValueError, match=r"img_size \[8, 12\].*\[12, 8\]"):
        network(torch.rand(1, 3, 12, 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 2}, "patch_size"),
        ({"window_size": 0}, "window_size"),
        ({"img_size": [8, 8, 8]}, "img_size"),
        ({"num_heads": [2]}, "num_heads"),
        ({"depths": [], "num_heads": []}, "depths"),
        ({"num_heads": [2, 3]}, "embed_dim"),
        ({"resi_connection": "2conv"}, "resi_connection"),
        ({"upsampler": "bicubic"}, "upsampler"),
        ({"upsampler": "pixelshuffle", "upscale": 6}, "upscale 6"),
        ({"upsampler": "nearest+conv", "upscale": 3}, "upscale 3"),
        ({"upscale": 0}, "upscale"),
    ],
)
def test_refuses_what_does_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        SwinIR(**{**SMALL, **options})
