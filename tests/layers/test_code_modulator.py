"""Modulators: each against its formula, written out."""

import inspect

import pytest
import torch
from torch.nn import functional as F

from uir.layers.code_modulator import MODULATORS, SFT, Stretch, build_modulator
from uir.layers.degradation_aware_conv import DAConv, DQAConv, RegionDAConv, depthwise_per_image, in_fast_order


def randomised(layer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return layer.double()


def features(*shape, seed=1):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def filtered_alone(x, kernel):
    """One channel by one kernel: a sum over shifted copies."""
    height, width = x.shape
    padded = F.pad(x, (1, 1, 1, 1))
    return sum(kernel[i, j] * padded[i : i + height, j : j + width] for i in range(3) for j in range(3))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_every_channel_of_every_image_has_its_own_kernel(batch, memory_format):
    x, kernels = features(batch, 4, 5, 6).contiguous(memory_format=memory_format), features(batch, 4, 3, 3, seed=2)
    filtered = depthwise_per_image(x, kernels)
    for image in range(batch):
        for channel in range(4):
            alone = filtered_alone(x[image, channel], kernels[image, channel])
            torch.testing.assert_close(filtered[image, channel], alone)


def test_da_conv_is_filter_mix_and_gate():
    layer = randomised(DAConv(4, code_channels=6, reduction=3))
    x, code = features(2, 4, 5, 6), features(2, 6, seed=2)
    kernels = layer.kernel[2](F.leaky_relu(layer.kernel[0](code), 0.1)).view(2, 4, 3, 3)
    mixed = F.conv2d(F.leaky_relu(depthwise_per_image(x, kernels), 0.1), layer.conv.weight, layer.conv.bias)
    squeeze, excite = (layer.ca.conv_du[index].weight[:, :, 0, 0] for index in (0, 2))
    gate = torch.sigmoid(F.leaky_relu(code @ squeeze.T, 0.1) @ excite.T)
    expected = mixed + x * gate[:, :, None, None]
    torch.testing.assert_close(layer(x, code), expected)
    with torch.no_grad():  # here the sum is made in place
        torch.testing.assert_close(layer(in_fast_order(x[:1]), code[:1]), expected[:1])


def test_a_da_conv_without_gates_is_its_kernels_alone():
    gated, alone = randomised(DAConv(4, code_channels=6, reduction=3)), DAConv(4, 6, reduction=3, gated=False).double()
    alone.load_state_dict({key: value for key, value in gated.state_dict().items() if not key.startswith("ca.")})
    x, code = features(2, 4, 5, 6), features(2, 6, seed=2)
    torch.testing.assert_close(alone(x, code), gated(x, code) - x * gated.gate(code))


def test_dqa_conv_starts_as_a_da_conv_and_then_looks_at_the_features():
    layer = randomised(DQAConv(4))
    plain = DAConv(4, reduction=2).double()
    plain.load_state_dict({key: value for key, value in layer.state_dict().items() if "sf_attn" not in key})
    x, code = features(2, 4, 5, 6), features(2, 4, seed=2)
    assert not torch.allclose(layer(x, code), plain(x, code))
    with torch.no_grad():
        layer.sf_attn.gamma.zero_()
    torch.testing.assert_close(layer(x, code), plain(x, code))


def test_a_pixel_takes_the_kernel_and_the_gate_of_its_region():
    layer = randomised(RegionDAConv(3, code_channels=5, regions=2, hidden=2))
    x, code = features(2, 3, 6, 7), features(2, 5, seed=2)
    kernels = layer.kernel(code[:, :, None]).view(2, 2, 3, 3, 3)
    gates = layer.ca.conv_du(code[:, :, None, None]).view(2, 2, 3)
    of_kernels, of_gates = layer.conv_guide1(x).argmax(1), layer.conv_guide2(x).argmax(1)
    assert {0, 1} == set(of_kernels.flatten().tolist()) == set(of_gates.flatten().tolist())
    result = layer(x, code)
    for image, row, column in [(0, 2, 3), (1, 0, 0), (1, 5, 6), (0, 4, 1), (1, 3, 2)]:
        region = of_kernels[image, row, column]
        branch = torch.stack([filtered_alone(x[image, c], kernels[image, region, c])[row, column] for c in range(3)])
        mixed = layer.conv.weight[:, :, 0, 0] @ F.leaky_relu(branch, 0.1) + layer.conv.bias
        expected = mixed + x[image, :, row, column] * gates[image, of_gates[image, row, column]]
        torch.testing.assert_close(result[image, :, row, column], expected)


def test_the_choice_of_a_region_has_softmax_gradient():
    from uir.layers.degradation_aware_conv import _HardRegions

    logits, weights = features(1, 3, 2, 2).requires_grad_(), features(1, 3, 2, 2, seed=2)
    hard, soft = _HardRegions.apply(logits), logits.softmax(1)
    assert torch.equal(hard.sum(1), torch.ones(1, 2, 2, dtype=torch.float64))
    (of_hard,) = torch.autograd.grad((hard * weights).sum(), logits)
    (of_soft,) = torch.autograd.grad((soft * weights).sum(), logits)
    torch.testing.assert_close(of_hard, of_soft)


def test_sft_scales_and_shifts():
    layer = randomised(SFT(4, code_channels=3))
    x, code = features(2, 4, 5, 6), features(2, 3, seed=2)
    gamma, beta = (
        F.leaky_relu(code @ layers[0].weight[:, :, 0, 0].T, 0.1) @ layers[2].weight[:, :, 0, 0].T
        for layers in (layer.conv_gamma, layer.conv_beta)
    )
    torch.testing.assert_close(layer(x, code), x * gamma[:, :, None, None] + beta[:, :, None, None])


def test_stretching_repeats_the_code_over_all_pixels():
    layer = randomised(Stretch(4, code_channels=3))
    x, code = features(2, 4, 5, 6), features(2, 3, seed=2)
    stretched = code[:, :, None, None].repeat(1, 1, 5, 6)
    expected = F.conv2d(torch.cat([x, stretched], 1), layer.conv.weight, layer.conv.bias, padding=1)
    torch.testing.assert_close(layer(x, code), expected)


@pytest.mark.parametrize("name", ["sft", "stretch"])
def test_a_constant_map_steers_as_its_vector_does(name):
    layer = randomised(build_modulator(name, 4, 3, field="map"))
    x, vector = features(2, 4, 6, 8), features(2, 3, seed=2)
    for rows, columns in [(6, 8), (3, 4), (1, 1)]:
        code = vector[:, :, None, None].expand(-1, -1, rows, columns)
        torch.testing.assert_close(layer(x, code), layer(x, vector))


@pytest.mark.parametrize("name", MODULATORS.keys())
def test_every_modulator_keeps_the_shape_and_learns_from_the_code(name):
    layer = randomised(build_modulator(name, 8, 9))
    x, code = features(2, 8, 6, 7), features(2, 9, seed=2).requires_grad_()
    modulated = layer(x, code)
    assert modulated.shape == x.shape
    modulated.square().sum().backward()
    assert code.grad.any(1).all()
    assert all(parameter.grad.any() for parameter in layer.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("film", 4, 3), "modulator: there is no 'film'; there are da_conv"),
        (("da_conv", 4, 3, "map"), "modulator 'da_conv' cannot use a code's map; sft, stretch can"),
    ],
)
def test_wrong_choices_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_modulator(*arguments)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="modulator 'sft' has no argument reduction; it has none"):
        build_modulator("sft", 4, 3, reduction=2)
    with pytest.raises(ValueError, match=r"DAConv\.kernel_size: expected an odd number, got 4"):
        build_modulator("da_conv", 8, 8, kernel_size=4)
    with pytest.raises(ValueError, match=r"DAConv\.reduction: expected 1 to the code's 4 channels, got 8"):
        build_modulator("da_conv", 8, 4)
    with pytest.raises(ValueError, match=r"RegionDAConv\.kernel_size"):
        build_modulator("region_da", 8, 4, kernel_size=2)


def test_every_modulator_documents_itself():
    assert all("Args:" in (inspect.getdoc(cls) or "") for _, cls in MODULATORS)
