"""IDR: principal components of hubs, routes by the physics of a degradation, its two losses."""

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from torch.nn import functional as F

from uir.archs.idr_arch import IDR
from uir.layers.degradation_hubs import Ingredients, Principle, route_shares
from uir.losses.hub_loss import HubLoss, SideOutputLoss

SMALL = ARCH_CONFIGS["IDR"]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_ingredients_that_pick_one_hubs_components_rebuild_its_keys():
    mixer, hubs = Ingredients(3, 4), torch.randn(3, 4, 10)
    with torch.no_grad():
        for layer in (mixer.convU, mixer.convV):
            layer.bias.zero_()
            layer.weight.zero_()
            layer.weight[:, 4:8, 0] = torch.eye(4)  # the second hub
        keys = mixer(hubs, F.one_hot(torch.tensor([1, 0]), 3).float())
    torch.testing.assert_close(keys[0], hubs[1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(keys[1], hubs[1])


@pytest.mark.thorough
def test_the_hubs_get_no_gradient_from_a_mixture_and_their_own_from_a_name():
    network, lq = IDR(**SMALL), torch.rand(2, 3, 16, 16)
    network(lq).mean().backward()
    assert network.degra_key.grad is None
    assert network.dmixer.convU.weight.grad.any()
    network.zero_grad()
    network(lq, torch.tensor([1, 3])).mean().backward()
    assert network.degra_key.grad.flatten(1).any(1).tolist() == [False, True, False, True, False]
    assert network.dmixer.convU.weight.grad is None


def test_routes_get_the_probabilities_of_their_hubs():
    probabilities = torch.tensor([[0.1, 0.2, 0.3, 0.15, 0.25]])
    shares = route_shares(probabilities, ("addition", "addition", "point", "convolve", "point"))
    torch.testing.assert_close(shares, torch.tensor([[0.3, 0.55, 0.15]]))


@torch.no_grad()
def test_every_route_is_what_it_is_called():
    principle, x, found = Principle(4, 3), torch.randn(2, 4, 6, 7), torch.randn(2, 4, 6, 7)
    features, other = principle.features(x), principle.found(found)
    joined = torch.stack([features, other], 2).flatten(1, 2)
    one = torch.eye(3)[:, None].expand(-1, 2, -1)
    torch.testing.assert_close(principle(x, found, one[0], False), features + principle.addition(joined))
    gain, shift = principle.point(joined).chunk(2, 1)
    torch.testing.assert_close(principle(x, found, one[1], False), gain * features + shift)
    kernels = principle.convolve(joined).unflatten(1, (4, 25))
    patches = F.unfold(F.pad(features, [2] * 4, mode="replicate"), 5).view(2, 4, 25, 6, 7)
    torch.testing.assert_close(principle(x, found, one[2], False), (kernels * patches).sum(2), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_in_the_published_code_other_routes_follow_the_addition():
    principle, x, found = Principle(4, 3), torch.randn(1, 4, 6, 7), torch.randn(1, 4, 6, 7)
    shares, only_point = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    assert not torch.allclose(principle(x, found, shares, True), principle(x, found, shares, False))
    torch.testing.assert_close(principle(x, found, only_point, True), principle(x, found, only_point, False))


def test_labels_of_hubs_are_smoothed():
    logits = torch.randn(2, 3, 5)
    expected = 0
    for image, hub in enumerate((4, 1)):
        label = torch.full((5,), 0.025)
        label[hub] = 0.9
        expected -= (label * logits[image].log_softmax(-1)).sum() / 5 / 2
    torch.testing.assert_close(HubLoss(loss_weight=1.0)(logits, torch.tensor([4, 1])), expected)


def test_images_of_every_level_are_compared_with_the_reduced_clean_one():
    gt = torch.rand(1, 3, 8, 8)
    sides = [gt + 0.1, F.interpolate(gt, (4, 4), mode="bilinear") - 0.3]
    assert SideOutputLoss()(sides, gt) == pytest.approx(0.4, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"routes": ["addition"]}, r"IDR\.routes: expected one of addition, point, convolve for each hub"),
        ({"hubs": ["noise"]}, r"IDR\.hubs: expected at least two"),
        ({"num_keys": 13}, r"IDR\.num_keys: expected 1 to 12"),
    ],
)
def test_refuses_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        IDR(**{**SMALL, **arguments})
