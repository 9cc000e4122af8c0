"""Losses on the features of a frozen trunk: contextual, frequency distribution, LPIPS, and any trunk's file."""

import pytest
import torch
from torch import nn

from uir.layers.contextual import contextual_distance
from uir.losses.contextual_loss import ContextualLoss
from uir.losses.fdl_loss import FDLLoss
from uir.losses.feature_matching_loss import FeatureMatchingLoss
from uir.losses.perceptual_loss import PerceptualLoss
from uir.registry.components import build_network

RANDOM = {"vgg_type": "vgg11", "weights": "random"}
NET = {"type": "NAFNet", "width": 4, "middle_blk_num": 1, "enc_blk_nums": [1], "dec_blk_nums": [1]}


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(1, 3, 24, 20, generator=generator), torch.rand(1, 3, 24, 20, generator=generator)


def test_contextual_loss_samples_places_where_there_are_too_many(pair):
    loss = ContextualLoss({"conv1_1": 1.0}, max_places=50, **RANDOM)
    features, wanted = loss._sampled(torch.arange(480.0).view(1, 1, 24, 20), torch.arange(480.0).view(1, 1, 24, 20))
    assert features.shape == (1, 1, 1, 50)
    assert torch.equal(features, wanted)
    assert loss(*pair) != loss(*pair)


def test_samples_go_on_from_a_kept_state(pair):
    loss, later = (ContextualLoss({"conv1_1": 1.0}, max_places=50, **RANDOM) for _ in range(2))
    loss(*pair)
    later.load_kept_state(loss.kept_state())
    assert loss(*pair) == later(*pair)


def test_a_sample_of_all_places_is_the_whole(pair):
    whole, sampled = (ContextualLoss({"conv1_1": 1.0}, max_places=count, **RANDOM) for count in (480, 479))
    torch.testing.assert_close(whole(*pair), sampled(*pair), rtol=0.01, atol=0)


def test_projections_depend_on_the_seed_and_come_from_a_kept_state(pair):
    first, same, other = (FDLLoss(layers=["conv1_1"], num_proj=4, seed=seed, **RANDOM) for seed in (0, 0, 1))
    value = first(*pair)
    assert value == same(*pair)
    assert value != other(*pair)
    other.load_kept_state(first.kept_state())
    assert value == other(*pair)


def test_projections_have_unit_norm():
    projection = FDLLoss(layers=["conv1_1"], num_proj=4, **RANDOM).projection_of("conv1_1", 7)
    torch.testing.assert_close(projection.flatten(1).norm(dim=1), torch.ones(4))


def test_a_map_smaller_than_a_patch_is_refused(pair):
    loss = FDLLoss(layers=["relu3_2"], **RANDOM)
    with pytest.raises(ValueError, match="smaller than patch_size 5"):
        loss(pair[0][..., :16, :16], pair[1][..., :16, :16])


@pytest.mark.parametrize("kind", [PerceptualLoss, ContextualLoss])
def test_any_registered_network_with_a_file_is_a_trunk(tmp_path, pair, kind):
    network = build_network(NET)
    torch.save({"params": network.state_dict()}, tmp_path / "trunk.pth")
    loss = kind({"intro": 1.0}, trunk=NET, weights=str(tmp_path / "trunk.pth"))
    value = loss(*pair)
    value = value[0] if isinstance(value, tuple) else value
    features = [network.intro(image) for image in pair]
    if kind is PerceptualLoss:
        torch.testing.assert_close(value, nn.functional.l1_loss(*features))
    else:
        torch.testing.assert_close(value, contextual_distance(*features).mean())


def test_a_trunk_without_a_file_is_refused():
    with pytest.raises(ValueError, match="the trunk NAFNet needs a file of its weights"):
        PerceptualLoss({"intro": 1.0}, trunk=NET)


def test_a_module_that_the_trunk_lacks_is_refused(tmp_path):
    torch.save({"params": build_network(NET).state_dict()}, tmp_path / "trunk.pth")
    with pytest.raises(ValueError, match=r"NAFNet has no module \['conv9'\]"):
        PerceptualLoss({"conv9": 1.0}, trunk=NET, weights=str(tmp_path / "trunk.pth"))


def test_random_vgg_is_the_same_every_time(pair):
    one, other = (PerceptualLoss({"relu2_1": 1.0}, **RANDOM)(*pair)[0] for _ in range(2))
    assert one == other
    assert one > 0


@pytest.mark.thorough
def test_lpips_equals_the_authors_package(tmp_path, pair):
    lpips = pytest.importorskip("lpips", reason="lpips is not installed")
    from uir.losses.lpips_loss import LPIPSLoss

    reference = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval()
    trunk = {}
    for part in (reference.net.slice1, reference.net.slice2, reference.net.slice3, reference.net.slice4,
                 reference.net.slice5):  # fmt: skip
        trunk |= {f"features.{key}": value for key, value in part.state_dict().items()}
    torch.save(trunk, tmp_path / "vgg16.pth")
    ours = LPIPSLoss(weights=str(tmp_path / "vgg16.pth"))(*pair)
    with torch.no_grad():
        theirs = reference(*pair, normalize=True).mean()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)
    assert LPIPSLoss(weights="random")(pair[0], pair[0]) == 0


@pytest.mark.parametrize("missing", ["trunk", "package"])
def test_lpips_says_which_file_is_missing(tmp_path, monkeypatch, missing):
    from uir.losses import lpips_loss

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(lpips_loss.importlib.util, "find_spec", lambda _: None)
    weights, said = {
        "trunk": (None, r"vgg16-397923af\.pth .*experiments/pretrained_models, or name the file with `weights:`"),
        "package": ("random", r"install the package lpips .* or name its file weights/v0\.1/vgg\.pth"),
    }[missing]
    with pytest.raises(FileNotFoundError, match=said):
        lpips_loss.LPIPSLoss(weights=weights)


def test_feature_matching_is_pix2pixhds_sum():
    generator = torch.Generator().manual_seed(2)
    fake, real = ([torch.randn(1, 2, 3, 3, generator=generator) for _ in range(8)] for _ in range(2))
    published = sum(4 / 4 * 1 / 2 * (one - other).abs().mean() for one, other in zip(fake, real, strict=True))
    torch.testing.assert_close(FeatureMatchingLoss(10)(fake, real), 10 * published)


def test_sobel_strength_of_a_ramp():
    from uir.losses.edge_loss import SobelEdgeLoss

    ramp = torch.arange(6.0).expand(1, 1, 5, 6)
    torch.testing.assert_close(SobelEdgeLoss().strength(ramp)[..., 1:-1, 1:-1], torch.ones(1, 1, 3, 4))


def test_sobel_edges_differ_by_the_mean_square_or_the_mean_of_their_strengths():
    from uir.losses.edge_loss import SobelEdgeLoss

    slope, flat = 2 * torch.arange(6.0).expand(1, 1, 5, 6), torch.zeros(1, 1, 5, 6)
    across = torch.tensor([1.0, 2, 2, 2, 2, 1])  # the border is repeated: half of the slope
    expected = {"l2": across.square().mean(), "l1": across.mean()}
    for criterion, value in expected.items():
        torch.testing.assert_close(SobelEdgeLoss(2.0, 1e-12, criterion)(slope, flat), 2 * value, rtol=1e-4, atol=0)
    torch.testing.assert_close(SobelEdgeLoss()(slope, flat), expected["l2"], rtol=0.01, atol=0)
    with pytest.raises(ValueError, match="criterion: expected l1, l2, got 'l3'"):
        SobelEdgeLoss(criterion="l3")
