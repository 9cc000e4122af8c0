"""What is particular to each of the encoders."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from uir.archs.airnet_arch import DGRN
from uir.archs.dasr_arch import DASR
from uir.encoders.airnet_encoder import CBDE
from uir.encoders.cdsr_encoder import CDSREncoder
from uir.encoders.conv_bn_encoder import ConvBN6Encoder
from uir.encoders.daa_encoder import DAAEncoder
from uir.encoders.ikc_encoder import IKCPredictor
from uir.encoders.timm_encoder import TimmEncoder

IMAGE = torch.rand(1, 3, 24, 30, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_ikc_trunk_gives_the_published_numbers(shared):
    """DASR-Liang's predictor is IKC's trunk with 33 outputs."""
    folder = shared / "fixtures/dasr_liang/degradation_predictor"
    state = {key: value for key, value in load_file(folder / "weights.safetensors").items() if "ConvNet" in key}
    predictor = IKCPredictor(nf=state["ConvNet.0.weight"].shape[0], num_params=state["ConvNet.10.weight"].shape[0])
    predictor.load_state_dict({key: value.float() for key, value in state.items()}, strict=True)
    stored = np.load(folder / "io.npz")
    code = predictor(torch.from_numpy(stored["in_x"]))
    torch.testing.assert_close(code.params, torch.from_numpy(stored["out_params"]), atol=1e-5, rtol=1e-4)
    assert code.vector is code.params


def test_published_ikc_predictor_has_as_many_parameters():
    assert sum(p.numel() for p in IKCPredictor().parameters()) == 430_730


@torch.no_grad()
def test_cdsr_codes_are_mixtures_of_the_codebook():
    encoder = CDSREncoder((4, 6, 8), codebook_size=3).eval()
    words = encoder.feature_bank.weight
    vector = encoder(IMAGE).vector[0]
    system = torch.cat([words.T, torch.ones(1, 3)])
    shares = torch.linalg.lstsq(system, torch.cat([vector, torch.ones(1)])[:, None]).solution.flatten()
    torch.testing.assert_close(shares @ words, vector, atol=1e-5, rtol=1e-4)
    assert shares.min() > 0


def test_cdsr_refuses_images_smaller_than_a_patch():
    with pytest.raises(ValueError, match=r"images must be at least 12×12, got \(11, 40\)"):
        CDSREncoder((4, 6, 8), codebook_size=3)(torch.rand(1, 3, 11, 40))


@torch.no_grad()
def test_daa_restores_by_the_activated_code_and_ranks_the_bare_one():
    encoder = DAAEncoder((4, 6, 8), (5,)).eval()
    bare, code = encoder.encoder_q(IMAGE).vector, encoder(IMAGE)
    assert bare.min() < 0
    torch.testing.assert_close(code.vector, F.leaky_relu(bare, 0.1))
    torch.testing.assert_close(code.score, encoder.ranker_q(bare))
    assert code.score.shape == (1,)


@torch.no_grad()
def test_images_are_scaled_to_the_range_of_the_weights():
    encoder, in_bytes = ConvBN6Encoder((4, 6, 8), rgb_range=1).eval(), ConvBN6Encoder((4, 6, 8)).eval()
    in_bytes.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(in_bytes(IMAGE).vector, encoder(255 * IMAGE).vector)


@torch.no_grad()
def test_timm_trunk_sees_images_as_it_was_trained_on():
    encoder = TimmEncoder("resnet18").eval()
    assert encoder.code_channels == 512
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = encoder.trunk((IMAGE - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    torch.testing.assert_close(encoder(IMAGE).vector, expected)


def test_a_trunk_with_a_wider_head_declares_that_width():
    encoder = TimmEncoder("mobilenetv3_small_050", projection=False).eval()
    with torch.no_grad():
        assert encoder(IMAGE).vector.shape == (1, encoder.code_channels)


@pytest.mark.thorough
@torch.no_grad()
@pytest.mark.parametrize("trunk", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_a_transformer_takes_images_of_any_size(trunk):
    encoder = TimmEncoder(trunk).eval()
    for height, width in ((37, 51), (64, 64)):
        assert encoder(torch.rand(1, 3, height, width)).vector.shape == (1, encoder.code_channels)


@pytest.mark.thorough
def test_a_trunk_for_images_of_one_size_is_refused():
    with pytest.raises(ValueError, match=r"'mixer_s32_224' accepts images of 224×224 only, .*; use another network"):
        TimmEncoder("mixer_s32_224")


def test_an_unknown_trunk_is_named_with_its_neighbours():
    with pytest.raises(ValueError, match=r"timm has no 'resnet1888'; similar names: .*resnet"):
        TimmEncoder("resnet1888")


@pytest.mark.parametrize("cls", [ConvBN6Encoder, CDSREncoder, CBDE])
def test_two_widths_are_refused(cls):
    with pytest.raises(ValueError, match=r"widths: expected three numbers of channels, got \[4, 6\]"):
        cls(widths=[4, 6])


@pytest.mark.parametrize(
    ("encoder", "backbone", "prefixes"),
    [
        (ConvBN6Encoder((4, 6, 8)), DASR(2, 1, 1, 8, code_channels=8), ("E.encoder_q.", "G.")),
        (CBDE((4, 6, 8)), DGRN(1, 1, 4, 4), ("E.E.encoder_q.", "R.")),
    ],
)
def test_each_network_takes_its_part_of_a_published_checkpoint(encoder, backbone, prefixes):
    whole = {"E.queue": torch.zeros(8, 4)}
    for prefix, network in zip(prefixes, (encoder, backbone), strict=True):
        whole |= {prefix + key: value for key, value in network.state_dict().items()}
        whole |= {
            prefix.replace("_q", "_k") + key: value for key, value in encoder.state_dict().items() if "_q" in prefix
        }
    for network in (encoder, backbone):
        assert network.convert_state_dict(whole).keys() == network.state_dict().keys()
        assert network.convert_state_dict(network.state_dict()).keys() == network.state_dict().keys()
