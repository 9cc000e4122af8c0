"""SPADE, LIP, HiFaceGAN's arrangement and pix2pix's U-Net against their definitions and basicsr's network."""

from __future__ import annotations

import pytest
import torch
from small_networks import build_network, made_image
from torch.nn import functional as F

from uir.compat import basicsr_names
from uir.core.checkpoint import fit_state
from uir.layers.lip import BottleneckLIP, SimplifiedLIP, lip2d
from uir.layers.spade import SPADE, SPADEResnetBlock
from uir.registry import ARCH_REGISTRY


def test_spade_without_gain_and_shift_is_the_norm():
    layer = SPADE(64, 3)
    for conv in (layer.mlp_gamma, layer.mlp_beta):
        torch.nn.init.zeros_(conv.weight)
        torch.nn.init.zeros_(conv.bias)
    x = torch.randn(2, 64, 6, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(x, made_image(3, 4)), F.instance_norm(x))
    assert sum(p.numel() for p in layer.parameters()) == 151168


def test_spade_block_keeps_its_input_where_the_width_stays():
    assert not hasattr(SPADEResnetBlock(4, 4, 3), "conv_s")
    assert SPADEResnetBlock(4, 6, 3).conv_s.bias is None


def test_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="norm: expected instance or batch, got 'layer'"):
        SPADE(4, 3, "layer")


def test_equal_logits_are_an_average_that_does_not_count_padding():
    x = torch.randn(1, 4, 9, 12, generator=torch.Generator().manual_seed(0))
    expected = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    torch.testing.assert_close(lip2d(x, torch.full_like(x, 1.7)), expected)
    for layer in (SimplifiedLIP(4), BottleneckLIP(4, 6)):
        torch.testing.assert_close(layer(x), expected)


@pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed")
def test_weights_of_hifacegan_give_basicsrs_image():
    torch.manual_seed(0)
    theirs = ARCH_REGISTRY.get("basicsr:HiFaceGAN")(num_feat=4, norm_g="spectralspadeinstance3x3", crop_size=64).eval()
    ours = build_network("LIPSPADENet", num_down=5)
    fit_state(ours, theirs.state_dict(), "hifacegan.pth")
    image = made_image(64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), (theirs(image * 2 - 1) + 1) / 2, rtol=1e-4, atol=1e-5)


def test_pix2pix_of_published_size():
    with torch.device("meta"):
        network = ARCH_REGISTRY.get("Pix2PixUNet")(use_dropout=True)
    assert sum(p.numel() for p in network.parameters()) == 54_413_955  # as the authors' code prints, 54.414 M
    assert sum(isinstance(module, torch.nn.Dropout) for module in network.modules()) == 3
    assert "model.model.1.model.3.model.1.weight" in network.state_dict()
    assert network.pad_multiple == 256


def test_pix2pix_skips_carry_the_features_of_each_size():
    network = build_network("Pix2PixUNet")
    image = made_image(16, 24)
    block = network.model.model[1]
    caught = []
    block.register_forward_hook(lambda _module, args, output: caught.append((args[0], output)))
    network(image)
    given, output = caught[0]
    assert torch.equal(output[:, :4], given)
    assert output.shape[1] == 8
