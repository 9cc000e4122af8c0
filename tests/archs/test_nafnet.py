"""NAFNet, its local-pooling variant and its baseline, against the formulas of the papers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from uir.archs.nafnet_arch import Baseline, NAFBlock, NAFNet, NAFNetLocal
from uir.core.checkpoint import fit_state
from uir.layers.features import FeaturePoint

SMALL = {"width": 4, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def randomized(network: nn.Module) -> nn.Module:
    """In float64, and with no branch switched off as a fresh network's are."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return network.double()


def published_block(block: NAFBlock, x: torch.Tensor) -> torch.Tensor:
    """The block as the paper writes it (Fig. 3c), operation by operation."""

    def norm(y, layer):
        centred = y - y.mean(1, keepdim=True)
        scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return scaled * layer.weight.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1)

    def conv(y, layer, **options):
        return F.conv2d(y, layer.weight, layer.bias, **options)

    def gate(y):
        half = y.shape[1] // 2
        return y[:, :half] * y[:, half:]

    wide = block.conv2.out_channels
    y = gate(conv(conv(norm(x, block.norm1), block.conv1), block.conv2, padding=1, groups=wide))
    y = y * conv(y.mean((2, 3), keepdim=True), block.sca[1])
    x = x + block.beta * conv(y, block.conv3)
    return x + block.gamma * conv(gate(conv(norm(x, block.norm2), block.conv4)), block.conv5)


@pytest.mark.parametrize("size", [(9, 7), (64, 64)])  # fewer pixels than are worth dealing out, and as many
def test_a_block_and_its_gradients_are_the_papers(size):
    block = randomized(NAFBlock(6))
    inputs = [torch.randn(2, 6, *size, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    inputs[1].data.copy_(inputs[0].data)
    weight = torch.randn(2, 6, *size, dtype=torch.float64)
    gradients = []
    outputs = [block(inputs[0].contiguous(memory_format=torch.channels_last)), published_block(block, inputs[1])]
    for x, output in zip(inputs, outputs, strict=True):
        gradients.append(torch.autograd.grad((output * weight).sum(), [x, *block.parameters()]))
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*gradients)


def test_without_gradients_nothing_changes():
    network, lq = randomized(NAFNet(**SMALL)), torch.rand(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        restored = network(lq)
    torch.testing.assert_close(restored, network(lq))


def test_other_sizes_are_padded_with_zeros_and_cropped():
    network, lq = randomized(NAFNet(**SMALL)), torch.rand(1, 3, 10, 13, dtype=torch.float64)
    padded = F.pad(lq, (0, 3, 0, 2))
    torch.testing.assert_close(network(lq), network(padded)[..., :10, :13])


def test_feature_points_follow_the_decoder():
    network = NAFNet(width=8, enc_blk_nums=[1, 1, 1], dec_blk_nums=[1, 1, 1])
    assert network.feature_points() == [
        FeaturePoint("decoders.0", 32, 4),
        FeaturePoint("decoders.1", 16, 2),
        FeaturePoint("decoders.2", 8, 1),
    ]


def test_pad_multiple_takes_in_the_window_size():
    assert NAFNet(**SMALL).pad_multiple == 4
    assert NAFNet(**SMALL, window_size=16).pad_multiple == 16
    assert NAFNet(**SMALL, window_size=6).pad_multiple == 12


def test_checkpoints_of_dcpt_load_strictly():
    source, network = randomized(NAFNet(**SMALL)), NAFNet(**SMALL).double()
    dcpt = {key.replace("decoders.", "decoder"): value for key, value in source.state_dict().items()}
    assert any(key.startswith("decoder0.0.") for key in dcpt)
    fit_state(network, dcpt, "a test")
    torch.testing.assert_close(network.state_dict(), source.state_dict())


def test_local_pooling_takes_windows_of_one_and_a_half_crops_at_every_level():
    network = NAFNetLocal(**SMALL, train_size=(1, 3, 32, 64))
    windows = [stage[0].sca[0].window for stage in (*network.encoders, network.middle_blks, *network.decoders)]
    assert windows == [(48, 96), (24, 48), (12, 24), (24, 48), (48, 96)]


def test_windows_are_those_that_the_published_converter_finds_by_running_a_crop():
    train_size, base = (1, 3, 30, 41), 45
    network = NAFNetLocal(**SMALL, train_size=train_size, base_size=base)
    seen = []
    for stage in (*network.encoders, network.middle_blks, *network.decoders):
        stage[0].sca[0].register_forward_hook(lambda pool, args, _: seen.append((pool.window, args[0].shape[-2:])))
    network(torch.rand(train_size))
    assert len(seen) == 5
    for window, (height, width) in seen:
        assert window == (height * base // 30, width * base // 41)


def test_local_and_global_pooling_agree_on_a_crop():
    network, local = randomized(NAFNet(**SMALL)), NAFNetLocal(**SMALL, train_size=(1, 3, 16, 16)).double()
    local.load_state_dict(network.state_dict(), strict=True)
    crop, photograph = (torch.rand(1, 3, side, side, dtype=torch.float64) for side in (24, 40))
    torch.testing.assert_close(local(crop), network(crop))
    assert not torch.allclose(local(photograph), network(photograph))


def test_fast_pooling_is_passed_to_every_block():
    network = NAFNetLocal(**SMALL, train_size=(1, 3, 16, 16), fast_imp=True)
    assert [m.sca[0].fast for m in network.modules() if isinstance(m, NAFBlock)] == [True] * 5


def test_baseline_widths_follow_the_expansions():
    block = Baseline(**SMALL, dw_expand=2, ffn_expand=3).encoders[0][0]
    assert block.conv2.out_channels == 8
    assert block.conv4.out_channels == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"enc_blk_nums": [1, 1], "dec_blk_nums": [1]}, "enc_blk_nums has 2 levels"),
        ({"width": 0}, "width"),
        ({"window_size": 0}, "window_size"),
    ],
)
def test_refuses_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        NAFNet(**arguments)


@pytest.mark.parametrize("arguments", [{"train_size": (256, 256)}, {"base_size": [1, 2, 3]}, {"base_size": 0}])
def test_refuses_local_sizes_that_do_not_fit(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        NAFNetLocal(**arguments)
