"""What holds for every discriminator, and each against basicsr's or its definition."""

from __future__ import annotations

import pytest
import torch
from small_networks import build_network, made_inputs, networks_of

from uir.compat import basicsr_names
from uir.layers.features import FeatureTap
from uir.layers.haar import haar
from uir.registry import ARCH_REGISTRY

SIDE = (40, 48)
NAMES = networks_of("discriminator")


def image(*size: int) -> torch.Tensor:
    return torch.rand(2, 3, *(size or SIDE), generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_parameter_gets_a_gradient_and_so_does_the_image(name):
    network = build_network(name, moved=0.1).train()
    inputs = made_inputs(network, name, *SIDE)
    inputs["image"].requires_grad_()
    result = network(**inputs)
    logits = result if isinstance(result, list) else [result]
    torch.stack([one.square().mean() for one in logits]).sum().backward()
    assert [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert inputs["image"].grad.abs().sum(1).gt(0).float().mean() > 0.9, "most pixels are judged"


def test_an_odd_size_is_judged(name):
    network = build_network(name)
    result = network(**made_inputs(network, name, 43, 37))
    assert all(one.isfinite().all() for one in (result if isinstance(result, list) else [result]))


def test_features_are_as_declared(name):
    network = build_network(name)
    inputs = made_inputs(network, name, *SIDE)
    _, features = FeatureTap(network)(*inputs.values())
    assert len(features) >= 2
    for point, feature in zip(network.feature_points(), features, strict=True):
        assert feature.shape[:2] == (2, point.channels), point.name
        assert abs(feature.shape[-2] - SIDE[0] / point.stride) <= 4, point.name


def test_a_second_gradient_exists(name):
    """R1 and the gradient penalty need it."""
    network = build_network(name).train()
    inputs = made_inputs(network, name, *SIDE)
    inputs["image"].requires_grad_()
    result = network(**inputs)
    total = torch.stack([one.square().sum() for one in (result if isinstance(result, list) else [result])]).sum()
    (gradient,) = torch.autograd.grad(total, inputs["image"], create_graph=True)
    gradient.square().sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "arguments", "side"),
    [
        ("UNetDiscriminatorSN", {"num_feat": 4}, 40),
        ("UNetDiscriminatorSN", {"num_feat": 4, "skip_connection": False}, 40),
        ("VGGStyleDiscriminator", {"num_feat": 2}, 128),
        ("VGGStyleDiscriminator", {"num_feat": 2, "input_size": 256}, 256),
    ],
)
@pytest.mark.skipif(not basicsr_names(), reason="basicsr is not installed")
def test_equals_basicsrs(name, arguments, side):
    ours = ARCH_REGISTRY.get(f"uir:{name}")(num_in_ch=3, **arguments)
    theirs = ARCH_REGISTRY.get(f"basicsr:{name}")(num_in_ch=3, **arguments)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    images = image(side, side)
    torch.testing.assert_close(ours(images), theirs(images))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())  # batch norms and power iterations moved alike


def test_vgg_of_any_size_is_the_published_one_at_128_pixels():
    any_size = build_network("VGGStyleDiscriminator")
    fixed = build_network("VGGStyleDiscriminator", input_size=128)
    torch.testing.assert_close(any_size(image(128, 128)), fixed(image(128, 128)))


@pytest.mark.parametrize(("layers", "side"), [(0, 1), (1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_receptive_field(layers, side):
    assert build_network("PatchDiscriminator", n_layers=layers).receptive_field == side


def test_receptive_field_is_what_a_logit_depends_on():
    network = build_network("PatchDiscriminator", n_layers=1, norm="none")
    pixels = image(48, 48).requires_grad_()
    logits = network(pixels)
    (gradient,) = torch.autograd.grad(logits[0, 0, 10, 12], pixels)
    rows = gradient[0].abs().sum((0, 2)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == network.receptive_field


def test_residual_discriminator_does_not_see_the_scene():
    network = build_network("ResidualDiscriminator")
    clean, noise = image(), 0.1 * image(*SIDE).flip(3)
    torch.testing.assert_close(network(clean, clean + noise), network(0 * clean, noise))


def test_wavelet_discriminator_does_not_see_brightness():
    network = build_network("WaveletDiscriminator")
    torch.testing.assert_close(network(image() + 0.3), network(image()), atol=1e-5, rtol=1e-4)


def test_haar_keeps_the_energy_and_names_its_directions():
    pixels = image(8, 6)
    torch.testing.assert_close(haar(pixels).square().sum(), pixels.square().sum())
    ramp = torch.arange(6.0).expand(1, 1, 4, 6)
    low, across, down, diagonal = haar(ramp)[0, :, 0]
    assert torch.equal(across, torch.ones(2, 3))
    assert not down.any()
    assert not diagonal.any()
    assert torch.equal(low[0], torch.tensor([1.0, 5.0, 9.0]))


def test_scales_of_the_multi_scale_discriminator_are_its_own_patchgans():
    network = build_network("MultiScaleDiscriminator", num_d=3)
    fine, middle, coarse = network(image())
    assert fine.shape[-1] > middle.shape[-1] > coarse.shape[-1]
    with torch.no_grad():
        network.scale0_layer0[0].weight.zero_()  # the authors count from the coarsest
    assert torch.equal(network(image())[0], fine)
    assert not torch.equal(network(image())[2], coarse)


@pytest.mark.parametrize(
    ("name", "changes", "side", "message"),
    [
        ("VGGStyleDiscriminator", {"input_size": 128}, 40, "expected images of 128×128 pixels, got 40×40; set its"),
        ("VGGStyleDiscriminator", {}, 16, "expected images of at least 32×32 pixels"),
        ("UNetDiscriminatorSN", {}, 6, "expected at least 8×8 pixels"),
        ("PatchDiscriminator", {}, 8, "needs at least 12 pixels a side"),
    ],
)
def test_too_small_an_image_is_refused(name, changes, side, message):
    with pytest.raises(ValueError, match=message):
        build_network(name, **changes)(image(side, side))
