"""DASR's restorer in the variants of the paper's ablation."""

import pytest
import torch
from small_networks import build_network, made_image

from uir.layers.degradation_code import DegradationCode


def test_the_models_of_the_paper_s_ablation_differ_in_the_layer_that_uses_the_code():
    networks = {kind: build_network("DASR", moved=0.1, code_layer=kind) for kind in ("da_conv", "kernels", "stretch")}
    layers = {kind: network.body[0].body[0].da_conv1 for kind, network in networks.items()}
    assert [type(layer).__name__ for layer in layers.values()] == ["DAConv", "DAConv", "Stretch"]
    assert [getattr(layer, "ca", None) is None for layer in layers.values()] == [False, True, True]
    lq = made_image(8, 12)
    for network in networks.values():
        one, other = (network(lq, DegradationCode(vector=torch.full((2, 6), value))) for value in (0.0, 1.0))
        assert one.shape == (2, 3, 16, 24)
        assert not torch.allclose(one, other)
    with pytest.raises(ValueError, match="code_layer: expected da_conv, kernels, stretch, got 'sft'"):
        build_network("DASR", code_layer="sft")


def test_the_oracle_of_the_paper_s_ablation_makes_its_vector_from_the_kernel():
    network = build_network("DASR", kernel_size=5)
    kernels = torch.rand(2, 1, 5, 5)
    linear = [layer for layer in network.from_kernel if isinstance(layer, torch.nn.Linear)]
    assert [layer.in_features for layer in linear] == [25, 6, 6, 6, 6]
    vector = kernels.flatten(1)
    for layer in linear[:-1]:
        vector = torch.nn.functional.leaky_relu(vector @ layer.weight.T + layer.bias, 0.1)
    vector = vector @ linear[-1].weight.T + linear[-1].bias
    plain = build_network("DASR")
    plain.load_state_dict({key: v for key, v in network.state_dict().items() if not key.startswith("from_kernel")})
    lq = made_image(8, 12)
    found, expected = network(lq, DegradationCode(kernel=kernels)), plain(lq, DegradationCode(vector=vector))
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="DASR with a kernel_size needs the field 'kernel'"):
        network(lq, DegradationCode(vector=vector))
    with pytest.raises(ValueError, match=r"kernels \[B, 1, 5, 5\], got \[2, 1, 7, 7\]"):
        network(lq, DegradationCode(kernel=torch.rand(2, 1, 7, 7)))
