"""Restormer and DCPT's variant: their frame, their checkpoints, their feature points."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from uir.archs.restormer_arch import Restormer, RestormerDCPT
from uir.core.checkpoint import CheckpointError, fit_state
from uir.layers.features import FeaturePoint, FeatureTap
from uir.layers.transposed_attention import BiasFreeNorm2d, TransposedAttention

SMALL = {"dim": 4, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "heads": [1, 2, 2, 4]}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def randomized(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return network.double()


def as_dcpt_writes_it(state):
    """With the blocks of a level wrapped once more."""
    levels = ("encoder_level", "decoder_level", "latent", "refinement")
    return {key.replace(".", ".body.", 1) if key.startswith(levels) else key: value for key, value in state.items()}


def test_is_the_u_of_the_paper():
    network, lq = randomized(Restormer(**SMALL, bias=True)), torch.rand(1, 3, 16, 24, dtype=torch.float64)
    level1 = network.encoder_level1(network.patch_embed.proj(lq))
    level2 = network.encoder_level2(F.pixel_unshuffle(network.down1_2.body[0](level1), 2))
    level3 = network.encoder_level3(F.pixel_unshuffle(network.down2_3.body[0](level2), 2))
    x = network.latent(F.pixel_unshuffle(network.down3_4.body[0](level3), 2))
    x = torch.cat([F.pixel_shuffle(network.up4_3.body[0](x), 2), level3], 1)
    x = network.decoder_level3(network.reduce_chan_level3(x))
    x = torch.cat([F.pixel_shuffle(network.up3_2.body[0](x), 2), level2], 1)
    x = network.decoder_level2(network.reduce_chan_level2(x))
    x = torch.cat([F.pixel_shuffle(network.up2_1.body[0](x), 2), level1], 1)
    x = network.refinement(network.decoder_level1(x))
    torch.testing.assert_close(network(lq), network.output(x) + lq)


def test_without_gradients_nothing_changes():
    network, lq = randomized(Restormer(**SMALL)), torch.rand(2, 3, 32, 40, dtype=torch.float64)
    with torch.no_grad():
        restored = network(lq)
    torch.testing.assert_close(restored, network(lq))


def test_other_sizes_are_reflected_and_cropped():
    network, lq = randomized(Restormer(**SMALL)), torch.rand(1, 3, 18, 21, dtype=torch.float64)
    padded = F.pad(lq, (0, 3, 0, 6), mode="reflect")
    torch.testing.assert_close(network(lq), network(padded)[..., :18, :21])


def test_two_views_have_no_global_residual():
    network = randomized(Restormer(**SMALL, inp_channels=6, dual_pixel_task=True))
    nn.init.zeros_(network.output.weight)
    assert not network(torch.rand(1, 6, 16, 16, dtype=torch.float64)).any()
    assert network.skip_conv.weight.shape == (8, 4, 1, 1)


@pytest.mark.thorough
def test_feature_points_are_those_of_dcpt():
    assert Restormer().feature_points() == [
        FeaturePoint("decoder_level3", 192, 4),
        FeaturePoint("decoder_level2", 96, 2),
        FeaturePoint("decoder_level1", 96, 1),
    ]
    _, features = FeatureTap(RestormerDCPT(**SMALL))(torch.rand(2, 3, 128, 128))
    assert [tuple(f.shape) for f in features] == [(2, 16, 32, 32), (2, 8, 64, 64), (2, 8, 128, 128)]


def test_pad_multiple_takes_in_the_window_size():
    assert Restormer(**SMALL).pad_multiple == 8
    assert Restormer(**SMALL, window_size=12).pad_multiple == 24


def test_the_variant_of_dcpt_differs_in_attention_norm_and_biases():
    network = RestormerDCPT(**SMALL, bias=True)
    blocks = [m for m in network.modules() if isinstance(m, TransposedAttention | BiasFreeNorm2d)]
    assert {m.activation for m in blocks if isinstance(m, TransposedAttention)} == {"relu"}
    assert {m.eps for m in blocks if isinstance(m, BiasFreeNorm2d)} == {1e-6}
    assert {m.bias for m in network.latent.modules() if isinstance(m, nn.Conv2d)} == {None}
    assert network.output.bias is not None


def test_checkpoints_of_dcpt_load_with_and_without_body():
    source = randomized(RestormerDCPT(**SMALL))
    for state in (source.state_dict(), as_dcpt_writes_it(source.state_dict())):
        network = RestormerDCPT(**SMALL).double()
        fit_state(network, state, "a test")
        torch.testing.assert_close(network.state_dict(), source.state_dict())
    assert "latent.body.0.norm1.body.weight" in state


def test_weights_of_dcpt_are_refused_where_attention_is_a_softmax():
    state = as_dcpt_writes_it(RestormerDCPT(**SMALL).state_dict())
    with pytest.raises(ValueError, match="type: RestormerDCPT"):
        fit_state(Restormer(**SMALL, LayerNorm_type="BiasFree"), state, "a test", strict=False)


@pytest.mark.parametrize(("held", "built"), [(Restormer, RestormerDCPT), (RestormerDCPT, Restormer)])
def test_the_card_tells_which_of_the_two_it_was(held, built):
    state = held(**SMALL, LayerNorm_type="BiasFree").state_dict()
    card = {"arch": {"type": held.__name__}}
    fit_state(held(**SMALL, LayerNorm_type="BiasFree"), state, "a test", card=card)
    with pytest.raises(CheckpointError, match=f"type: {held.__name__}$"):
        fit_state(built(**SMALL, LayerNorm_type="BiasFree"), state, "a test", card=card)


@pytest.mark.parametrize(("held", "built"), [("WithBias", "BiasFree"), ("BiasFree", "WithBias")])
@pytest.mark.parametrize("strict", [True, False])
def test_weights_for_the_other_norm_are_refused_with_the_reason(held, built, strict):
    state = Restormer(**SMALL, LayerNorm_type=held).state_dict()
    network = Restormer(**SMALL, LayerNorm_type=built)
    with pytest.raises(ValueError, match=f"trained with LayerNorm_type: {held}; the network has {built}"):
        network.load_state_dict(state, strict=strict)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 5}, r"Restormer\.dim: expected an even number"),
        ({"num_blocks": [1, 1, 1]}, r"Restormer\.num_blocks: expected 4 numbers"),
        ({"heads": [1, 2, 4, 0]}, r"Restormer\.heads: expected 4 numbers"),
        ({"heads": [3, 1, 1, 1], "dim": 4}, "cannot be divided into 3 heads"),
        ({"window_size": 0}, "window_size"),
        ({"inp_channels": 6}, "dual_pixel_task: true"),
        ({"LayerNorm_type": "Batch"}, "LayerNorm_type"),
    ],
)
def test_refuses_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        Restormer(**{**SMALL, **arguments})
