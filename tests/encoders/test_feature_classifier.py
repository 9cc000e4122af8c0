"""The light classifier: any backbone, within its budget, and able to learn."""

import pytest
import torch
from torch.nn import functional as F

from uir.archs.nafnet_arch import NAFNet
from uir.encoders.feature_classifier_encoder import FeatureClassifier
from uir.layers.features import FeaturePoint, FeatureTap

NAFNET_W64 = [FeaturePoint(f"decoders.{i}", 512 >> i, 8 >> i) for i in range(4)]
TOKENS = [FeaturePoint(f"layers.{i}", 180, 1, "tokens") for i in range(3)]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def count(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("points", [NAFNET_W64, TOKENS])
@pytest.mark.parametrize("budget", [50_000, 300_000])
def test_fills_its_budget_but_never_exceeds_it(points, budget):
    assert 0.8 * budget < count(FeatureClassifier(points, 5, budget)) <= budget


def test_is_never_wider_than_the_widest_feature():
    head = FeatureClassifier([FeaturePoint("body", 12, 1)], 3)
    assert head.width == 8
    assert count(head) < 1000


def test_a_budget_too_small_for_any_width_is_named():
    with pytest.raises(ValueError, match=r"max_params: 100 is too few .* the narrowest classifier has 2951"):
        FeatureClassifier(NAFNET_W64, 5, max_params=100)


def test_takes_the_features_of_a_backbone():
    net = NAFNet(width=4, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])
    tap, lq = FeatureTap(net), torch.rand(2, 3, 21, 30)
    head = FeatureClassifier(tap.points, 5)
    head(lq, tap(lq)[1]).square().sum().backward()
    assert net.intro.weight.grad.any(), "gradients reach the backbone"
    assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_points_may_be_written_in_a_file():
    head = FeatureClassifier([{"name": "body", "channels": 8, "stride": 2, "layout": "nchw"}], 3)
    assert head.points == [FeaturePoint("body", 8, 2)]


def test_tokens_and_maps_give_the_same():
    maps = [torch.rand(2, 8, 6, 10)]
    by_map = FeatureClassifier([FeaturePoint("body", 8, 2)], 3)
    by_token = FeatureClassifier([FeaturePoint("body", 8, 2, "tokens")], 3)
    by_token.load_state_dict(by_map.state_dict())
    lq = torch.empty(2, 3, 12, 20)
    torch.testing.assert_close(by_token(lq, [maps[0].flatten(2).transpose(1, 2)]), by_map(lq, maps))


@pytest.mark.thorough
def test_learns_to_tell_noise_from_flatness():
    head = FeatureClassifier([FeaturePoint("body", 8, 1)], 2)
    optimizer = torch.optim.Adam(head.parameters(), 3e-3)
    labels = torch.tensor([0, 1]).repeat(8)
    for _ in range(40):
        levels = torch.rand(16, 8, 1, 1)
        maps = levels + 0.3 * labels.view(-1, 1, 1, 1) * torch.randn(16, 8, 12, 12)
        logits = head(torch.empty(16, 3, 12, 12), [maps])
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()
    assert (logits.argmax(1) == labels).all()


def test_refuses_what_does_not_fit():
    head, lq = FeatureClassifier([FeaturePoint("fine", 4, 1), FeaturePoint("coarse", 8, 2)], 3), torch.empty(1, 3, 8, 8)
    fine, coarse = torch.rand(1, 4, 8, 8), torch.rand(1, 8, 4, 4)
    with pytest.raises(ValueError, match="'fine' should give 4 channels"):
        head(lq, [coarse, fine])
    with pytest.raises(ValueError, match="expected 2 features, got 1"):
        head(lq, [fine])
    with pytest.raises(ValueError, match="the backbone has none"):
        FeatureClassifier([], 3)
    with pytest.raises(ValueError, match="num_classes: expected at least 1, got 0"):
        FeatureClassifier(NAFNET_W64, 0)


@pytest.mark.parametrize("normalise", [True, False])
def test_the_magnitude_counts_unless_features_are_normalised(normalise):
    torch.manual_seed(0)
    head = FeatureClassifier([FeaturePoint("body", 8, 1)], 3, normalise=normalise)
    lq, feature = torch.empty(2, 3, 16, 16), 5 * torch.randn(2, 8, 16, 16)
    same = torch.allclose(head(lq, [feature]), head(lq, [4 * feature]), atol=1e-4)
    assert same == normalise
    assert any("body.0" in key for key in head.state_dict()) == normalise
    assert count(head) <= 1_000_000
