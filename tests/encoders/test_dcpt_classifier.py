"""DCPT's classifiers by the description of their layers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from uir.encoders.dcpt_classifier_encoder import PromptIR_DC, PromptIR_NoImg_DC


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def features(*shapes):
    return [torch.rand(2, *shape, dtype=torch.float64) for shape in shapes]


def published_block(block, x):
    """1×1, 3×3, 1×1, each with a norm over channels; ReLU between them and after the shortcut."""

    def normed(y, layer, padding=0):
        y = F.conv2d(y, layer.weight, padding=padding)
        centred = y - y.mean(1, keepdim=True)
        scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return scaled * layer.norm.weight.view(1, -1, 1, 1) + layer.norm.bias.view(1, -1, 1, 1)

    y = F.relu(normed(F.relu(normed(x, block.conv1)), block.conv2, padding=1))
    return F.relu(x + normed(y, block.conv3))


def test_is_what_its_description_says():
    head, given = PromptIR_NoImg_DC([4, 6], 1, 3).double(), features((4, 12, 16), (6, 6, 8))
    nn.init.normal_(head.mixing_weights)
    shares = head.mixing_weights.exp() / head.mixing_weights.exp().sum()
    x = published_block(head.bottleneck_layers[0][0], shares[0] * given[0])
    x = F.relu(F.max_pool2d(head.downsample_layers[0][0](x), 2))
    x = published_block(head.bottleneck_layers[1][0], x + shares[1] * given[1])
    x = F.relu(F.max_pool2d(head.downsample_layers[1][0](x), 2))
    x = published_block(head.last_stage[0], x)
    torch.testing.assert_close(head(torch.empty(2, 3, 12, 16), given), head.fc(x.mean((2, 3))))


@pytest.mark.thorough
@pytest.mark.parametrize("cls", [PromptIR_DC, PromptIR_NoImg_DC])
def test_the_first_weights_are_drawn_as_published(cls):
    """Blocks: normal with deviation √(2 / fan out). What follows a level: torch's own, uniform within 1/√(fan in)."""
    head = cls([128, 256, 256])
    block, down = head.bottleneck_layers[1][0], head.downsample_layers[1][0]
    for conv, fan_out in ((block.conv1, 512), (block.conv2, 512 * 9), (block.conv3, 256)):
        assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
        assert conv.weight.abs().max() > 3.5 * (2 / fan_out) ** 0.5
    assert down.weight.std().item() == pytest.approx((3 * 256) ** -0.5, rel=0.02)
    assert 0.99 / 16 < down.weight.abs().max().item() <= 1 / 16


def test_features_are_mixed_in_equal_shares_at_first():
    assert torch.equal(PromptIR_NoImg_DC([4, 6, 8]).mixing_weights.softmax(0), torch.full((3,), 1 / 3))


@pytest.mark.parametrize(
    ("feature_dims", "classes", "count"),
    [
        ([64, 128, 256, 512], 5, 49_290_505),
        ([64, 128, 256, 512], 10, 49_293_070),
        ([96, 96, 192], 5, 7_449_800),
        ([96, 192, 192], 5, 9_691_208),
    ],
)
def test_has_the_published_number_of_parameters(feature_dims, classes, count):
    with torch.device("meta"):
        head = PromptIR_NoImg_DC(feature_dims, num_classes=classes)
    assert sum(p.numel() for p in head.parameters()) == count


def test_the_image_enters_before_the_first_feature():
    head, given = PromptIR_DC([4, 6]).double(), features((4, 6, 8), (6, 3, 4))
    image = torch.rand(2, 3, 12, 16, dtype=torch.float64)
    assert head(image, given).shape == (2, 5)
    assert not torch.allclose(head(image, given), head(1 - image, given))


@pytest.mark.parametrize("size", [(8, 8), (8, 24), (20, 12)])
def test_tokens_may_lie_on_any_grid(size):
    head, maps = PromptIR_NoImg_DC([4, 4], downsample=True).double(), features((4, *size), (4, *size))
    tokens = [m.flatten(2).transpose(1, 2) for m in maps]
    expected = PromptIR_NoImg_DC([4, 4]).double()
    expected.load_state_dict(head.state_dict())
    image = torch.empty(2, 3, *size)
    torch.testing.assert_close(head(image, tokens), expected(image, [maps[0], maps[1][..., ::2, ::2]]))


def test_gradients_reach_the_features_and_every_parameter():
    head, given = PromptIR_NoImg_DC([4, 6]).double(), features((4, 12, 16), (6, 6, 8))
    for feature in given:
        feature.requires_grad_()
    head(torch.empty(2, 3, 12, 16), given).square().sum().backward()
    assert all(feature.grad.any() for feature in given)
    assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_refuses_what_does_not_fit():
    image = torch.empty(2, 3, 12, 16)
    with pytest.raises(ValueError, match="has 2 feature_dims, got 1 features"):
        PromptIR_NoImg_DC([4, 6])(image, [torch.rand(2, 4, 12, 16)])
    with pytest.raises(ValueError, match="each half the size"):
        PromptIR_NoImg_DC([4, 6])(image, [torch.rand(2, 4, 12, 16), torch.rand(2, 6, 12, 16)])
    with pytest.raises(ValueError, match="feature_dims: expected the channels"):
        PromptIR_NoImg_DC([])
    with pytest.raises(ValueError, match="num_classes: expected at least 1, got 0"):
        PromptIR_DC([4], num_classes=0)
