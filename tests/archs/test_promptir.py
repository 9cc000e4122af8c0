"""PromptIR: prompts by the paper's formula, checkpoints of the authors and of their trainer."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from uir.archs.promptir_arch import PromptGenBlock, PromptIR
from uir.core.checkpoint import fit_state
from uir.layers.features import FeaturePoint, FeatureTap

SMALL = {
    "dim": 4, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "heads": [1, 2, 2, 4],
    "prompt_dims": [2, 4, 6], "prompt_len": 3, "prompt_sizes": [8, 4, 2],
}  # fmt: skip
UNUSED = {
    "chnl_reduce1": (64, 64), "chnl_reduce2": (128, 128), "chnl_reduce3": (320, 256),
    "reduce_noise_channel_1": (112, 48), "reduce_noise_channel_2": (224, 96), "reduce_noise_channel_3": (448, 192),
}  # fmt: skip


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


def test_a_prompt_is_a_mixture_resized_to_the_features():
    block, x = randomized(PromptGenBlock(4, 3, 5, 6)), torch.randn(2, 6, 7, 9, dtype=torch.float64)
    shares = torch.softmax(x.mean((-2, -1)) @ block.linear_layer.weight.T + block.linear_layer.bias, dim=1)
    mixtures = [sum(s * p for s, p in zip(share, block.prompt_param[0], strict=True)) for share in shares]
    resized = F.interpolate(torch.stack(mixtures), (7, 9), mode="bilinear", align_corners=False)
    torch.testing.assert_close(block(x), F.conv2d(resized, block.conv3x3.weight, padding=1))


def test_every_prompt_is_joined_and_reduced_before_enlarging():
    network, lq = randomized(PromptIR(**SMALL)), torch.rand(2, 3, 16, 24, dtype=torch.float64)
    seen = {}
    for name in ("latent", "decoder_level3", "decoder_level2", "reduce_noise_level3", "reduce_noise_level1"):
        network.get_submodule(name).register_forward_hook(lambda _m, _a, out, name=name: seen.update({name: out}))
    network.up2_1.register_forward_hook(lambda _m, args, _out: seen.update(before_up=args[0]))
    network(lq)
    for level, source in ((3, "latent"), (1, "decoder_level2")):
        joined = torch.cat([seen[source], network.get_submodule(f"prompt{level}")(seen[source])], 1)
        mixed = network.get_submodule(f"noise_level{level}")(joined)
        torch.testing.assert_close(
            network.get_submodule(f"reduce_noise_level{level}")(mixed), seen[f"reduce_noise_level{level}"]
        )
    torch.testing.assert_close(seen["before_up"], seen["reduce_noise_level1"])


def test_another_degradation_gets_another_prompt():
    block = randomized(PromptGenBlock(4, 3, 5, 6))
    first, second = (block(torch.full((1, 6, 8, 8), value, dtype=torch.float64)) for value in (0.0, 5.0))
    assert not torch.allclose(first, second)


def test_feature_points_are_those_of_dcpt():
    with torch.device("meta"):
        points = PromptIR().feature_points()
    assert points == [
        FeaturePoint("reduce_noise_level3", 192, 8),
        FeaturePoint("reduce_noise_level2", 192, 4),
        FeaturePoint("reduce_noise_level1", 96, 2),
    ]
    _, features = FeatureTap(PromptIR(**SMALL), stop_at_last=True)(torch.rand(1, 3, 128, 128))
    assert [tuple(f.shape) for f in features] == [(1, 16, 16, 16), (1, 16, 32, 32), (1, 8, 64, 64)]


@pytest.mark.thorough
@pytest.mark.parametrize("prefix", ["", "net."])
def test_published_checkpoints_load_strictly(prefix):
    source, network = randomized(PromptIR(**SMALL)), PromptIR(**SMALL).double()
    published = source.state_dict() | {f"{name}.weight": torch.ones(o, i, 1, 1) for name, (i, o) in UNUSED.items()}
    published = {prefix + key: value for key, value in published.items()}
    if prefix:
        published["loss_fn.weight"] = torch.ones(1)  # what else a trainer may hold
    fit_state(network, published, "a test")
    torch.testing.assert_close(network.state_dict(), source.state_dict())


def test_weights_for_the_other_norm_are_refused():
    state = PromptIR(**SMALL, LayerNorm_type="BiasFree").state_dict()
    with pytest.raises(ValueError, match="PromptIR: these weights were trained with LayerNorm_type: BiasFree"):
        PromptIR(**SMALL).load_state_dict(state)


def test_can_be_brought_into_channels_last_order_with_its_gradients():
    network, lq = randomized(PromptIR(**SMALL)), torch.rand(1, 3, 16, 16, dtype=torch.float64)
    expected = network(lq)
    expected.sum().backward()
    network.to(memory_format=torch.channels_last)
    assert network.prompt1.prompt_param.shape == network.prompt1.prompt_param.grad.shape == (1, 3, 2, 8, 8)
    torch.testing.assert_close(network(lq), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decoder": False}, "Restormer is this network without them"),
        ({"prompt_dims": [4, 4]}, r"PromptIR\.prompt_dims: expected three numbers"),
        ({"prompt_sizes": [4, 4, 0]}, r"PromptIR\.prompt_sizes: expected three numbers"),
        ({"prompt_len": 0}, r"PromptIR\.prompt_len"),
        ({"out_channels": 1}, "out_channels must be inp_channels"),
    ],
)
def test_refuses_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        PromptIR(**{**SMALL, **arguments})
