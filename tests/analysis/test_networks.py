"""The network that is looked into: which one, with which weights."""

import pytest
import torch
import yaml
from arch_configs import ARCH_CONFIGS
from torch import nn

from uir.analysis.networks import count_parameters, kaiming_initialise, load_network, with_encoder
from uir.core.checkpoint import write_checkpoint
from uir.registry.components import build

SPEC = {"type": "NAFNet", **ARCH_CONFIGS["NAFNet"]}


@pytest.fixture
def opt(tmp_path):
    file = tmp_path / "net.yml"
    file.write_text(yaml.safe_dump({"name": "x", "network_g": SPEC}))
    return file


def same(one, other):
    return all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


def test_an_option_file_alone_gives_seeded_random_weights(opt):
    before = torch.get_rng_state()
    assert same(load_network(opt), load_network(opt, seed=0))
    assert not same(load_network(opt), load_network(opt, seed=1))
    assert torch.equal(before, torch.get_rng_state())
    assert not load_network(opt).training


@pytest.mark.thorough
def test_a_checkpoint_gives_its_weights_with_and_without_an_option_file(opt, tmp_path):
    net = build("archs", SPEC)
    with torch.no_grad():
        net.intro.weight.add_(1)
    file = tmp_path / "net.pth"
    write_checkpoint(file, {"params": net.state_dict()}, {"arch": SPEC})
    assert same(load_network(model=file), net)
    assert same(load_network(opt, file), net)
    assert same(load_network(opt, file, init="random"), load_network(opt))  # the control of a trained one


def test_kaiming_draws_convolutions_and_linear_layers_only(opt):
    net = load_network(opt, init="kaiming", seed=3)
    bound = (6 / ((1 + 2**2) * 3 * 9)) ** 0.5  # gain √(2 / (1 + a²)), limit √3 · gain / √fan_in
    weight = net.intro.weight
    assert 0.9 * bound < weight.abs().max() <= bound
    assert net.encoders[0][0].beta.abs().max() == 0
    assert same(net, load_network(opt, init="kaiming", seed=3))
    layer = nn.Linear(600, 40)
    kaiming_initialise(layer)
    assert float(layer.weight.detach().var()) == pytest.approx(2 / (5 * 600), rel=0.05)


def test_a_restorer_is_sized_by_the_encoder_beside_it(tmp_path):
    encoder = {"type": "ConvBN6Encoder", "widths": [4, 6, 8]}
    restorer = {"type": "DASR", "scale": 2, "n_groups": 1, "n_blocks": 1, "n_feats": 8, "reduction": 2}
    file = tmp_path / "dasr.yml"
    file.write_text(yaml.safe_dump({"name": "x", "network_e": encoder, "network_g": restorer}))
    before = torch.get_rng_state()
    net = with_encoder(load_network(file), file)
    assert torch.equal(before, torch.get_rng_state())
    assert net(torch.rand(1, 3, 16, 16)).shape == (1, 3, 32, 32)


def test_a_file_in_dcpt_s_dialect_means_what_it_means_in_training(tmp_path):
    file = tmp_path / "published.yml"
    file.write_text(yaml.safe_dump({"name": "x", "network_g": {**SPEC, "type": "NAFNetBaseline"}}))
    assert type(load_network(file)).__name__ == "NAFNet"


def test_mistakes_are_told(opt, tmp_path):
    with pytest.raises(ValueError, match="which network"):
        load_network()
    with pytest.raises(ValueError, match="needs a checkpoint"):
        load_network(opt, init="trained")
    with pytest.raises(ValueError, match="has no network_e; it has network_g"):
        load_network(opt, role="e")
    file = tmp_path / "bare.pth"
    torch.save({"params": build("archs", SPEC).state_dict()}, file)
    with pytest.raises(ValueError, match="has no card"):
        load_network(model=file)


def test_a_conditioned_backbone_gets_its_encoder(tmp_path):
    spec = {"type": "DASR", **ARCH_CONFIGS["DASR"]}
    file = tmp_path / "blind.yml"
    encoder = {"type": "ConvBN6Encoder", "widths": [4, 4, spec["code_channels"]]}
    file.write_text(yaml.safe_dump({"network_g": spec, "network_e": encoder}))
    backbone = load_network(file)
    whole = with_encoder(backbone, file)
    assert count_parameters(whole) > count_parameters(backbone)
    with torch.no_grad():
        assert whole(torch.rand(1, 3, 12, 12)).shape == (1, 3, 24, 24)
    with pytest.raises(ValueError, match="network_e"):
        with_encoder(backbone, None)


def test_a_plain_backbone_needs_no_encoder(opt):
    net = load_network(opt)
    assert with_encoder(net, opt) is net
