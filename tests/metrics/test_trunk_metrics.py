"""LPIPS, DISTS and the contextual distance against their packages and the published code, with random trunks."""

import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from uir.layers.contextual import contextual_distance
from uir.metrics import build_metric
from uir.metrics.lpips_metric import _FILES


@pytest.fixture(scope="module")
def pair():
    """Images in whole grey levels, so that rounding changes nothing."""
    generator = torch.Generator().manual_seed(1)
    gt = torch.randint(0, 256, (2, 3, 48, 41), generator=generator)
    restored = (gt + torch.randint(-30, 31, gt.shape, generator=generator)).clamp(0, 255)
    return restored / 255, gt / 255


NETS = {"alex": "alexnet", "squeeze": "squeezenet", "vgg": "vgg16"}


@pytest.mark.thorough
@pytest.mark.parametrize("net", NETS)
def test_lpips_is_the_packages_with_the_same_trunk(trunk, pair, monkeypatch, net):
    import lpips

    state = {key: value.float() for key, value in torch.load(trunk(NETS[net]), weights_only=True).items()}

    torchvision = lpips.pretrained_networks.tv
    name = NETS[net].replace("squeezenet", "squeezenet1_1")
    with torch.device("meta"):
        network = getattr(torchvision, name)()
    network.classifier = network.avgpool = torch.nn.Identity()
    network.load_state_dict(state, assign=True)
    monkeypatch.setattr(torchvision, name, lambda pretrained: network)
    reference = lpips.LPIPS(net=net, verbose=False)
    expected = [reference(x[None] * 2 - 1, y[None] * 2 - 1).item() for x, y in zip(*pair, strict=True)]
    metric = build_metric({"type": "LPIPS", "net": net, "weights": str(trunk(NETS[net]))})
    assert metric(*pair) == pytest.approx(np.mean(expected), rel=1e-4)
    assert metric.describe() == f"LPIPS (RGB, border 0, uint8, {net})"


@pytest.mark.parametrize("net", NETS)
def test_lpips_says_what_is_too_small(trunk, net):
    least = {"alex": 31, "vgg": 16, "squeeze": 17}[net]
    metric = build_metric({"type": "LPIPS", "net": net, "weights": str(trunk(NETS[net]))})
    assert metric(torch.ones(3, least, least), torch.ones(3, least, least)) == pytest.approx(0, abs=1e-6)
    small = torch.ones(3, least - 1, 64)
    with pytest.raises(ValueError, match=f"needs at least {least}×{least} pixels, got {least - 1}×64"):
        metric(small, small)


def test_building_a_metric_leaves_the_random_state_alone(trunk):
    before = torch.get_rng_state()
    for name, network in (("LPIPS", "alexnet"), ("DISTS", "vgg16")):
        build_metric({"type": name, "weights": str(trunk(network))})
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module")
def torchmetrics_dists(trunk):
    """torchmetrics' network with our trunk: it would download its own."""
    from torchmetrics.functional.image import dists
    from torchvision.models import vgg16

    state = {key: value.float() for key, value in torch.load(trunk("vgg16"), weights_only=True).items()}

    def local(**kwargs):
        with torch.device("meta"):
            network = vgg16()
        network.classifier = torch.nn.Identity()
        network.load_state_dict(state, assign=True)
        return network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dists, "vgg16", local)
        return dists.DISTSNetwork()


@pytest.mark.thorough
def test_dists_is_torchmetrics_with_the_same_trunk(trunk, pair, torchmetrics_dists):
    with torch.no_grad():
        expected = torchmetrics_dists(*pair)
    metric = build_metric({"type": "DISTS", "weights": str(trunk("vgg16"))})
    assert metric(*pair) == pytest.approx(expected.mean().item(), rel=1e-3)
    assert metric(pair[1], pair[1]) == pytest.approx(0, abs=1e-5)


@pytest.mark.thorough
def test_dists_shrinks_large_images_where_asked_for(trunk, torchmetrics_dists):
    gt = torch.rand(1, 3, 258, 260, generator=torch.Generator().manual_seed(0))
    gt = (gt * 255).round() / 255
    small = torch.nn.functional.interpolate(gt, size=(256, 257), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = torchmetrics_dists(small, 1 - small).item()
    metric = build_metric({"type": "DISTS", "resize": True, "weights": str(trunk("vgg16"))})
    assert metric(gt, 1 - gt) == pytest.approx(expected, rel=1e-3)
    assert metric.describe().endswith("short side 256)")


@pytest.mark.thorough
def test_dists_takes_weights_of_the_features_from_a_file(trunk, pair, tmp_path):
    """With all weight on the means of the image's channels, DISTS is a formula of six numbers."""
    alpha, beta = torch.zeros(1, 1475, 1, 1), torch.zeros(1, 1475, 1, 1)
    alpha[:, :3] = 2.0
    torch.save({"alpha": alpha, "beta": beta}, tmp_path / "own.pt")
    metric = build_metric(
        {"type": "DISTS", "weights": str(trunk("vgg16")), "channel_weights": str(tmp_path / "own.pt")}
    )
    x, y = (image[:1].mean(dim=(2, 3)) for image in pair)
    expected = 1 - ((2 * x * y + 1e-6) / (x**2 + y**2 + 1e-6)).mean()
    assert metric(pair[0][0], pair[1][0]) == pytest.approx(expected.item(), abs=1e-6)
    with pytest.raises(ValueError, match=r"channel_weights: .*alexnet.pth does not contain the weights of DISTS"):
        build_metric({"type": "DISTS", "weights": str(trunk("vgg16")), "channel_weights": str(trunk("alexnet"))})


@pytest.mark.parametrize("bandwidth", ["0.1", "0.5", "1.0"])
def test_contextual_distance_is_the_published_one(shared, bandwidth):
    values = np.load(shared / "fixtures/losses/contextual/io.npz")
    x, y = (torch.from_numpy(values[name]) for name in "xy")
    found = contextual_distance(x, y, float(bandwidth)).mean().item()
    assert found == pytest.approx(float(values[f"cosine_h{bandwidth}"]), rel=1e-4)


def test_contextual_distance_ignores_where_the_features_are():
    y = torch.randn(1, 8, 5, 6, generator=torch.Generator().manual_seed(0))
    x = y.flatten(2)[..., torch.randperm(30, generator=torch.Generator().manual_seed(1))].view_as(y)
    assert contextual_distance(x, y, 0.1).item() == pytest.approx(0, abs=2e-3)
    torch.testing.assert_close(contextual_distance(x, y), contextual_distance(y, y))


@pytest.mark.thorough
def test_contextual_takes_a_fixed_sample_of_many_positions(trunk, pair):
    options = {"type": "Contextual", "weights": str(trunk("vgg19")), "layers": ["conv1_1", "conv1_2"]}
    sampled, whole = build_metric({**options, "max_positions": 500}), build_metric(options)
    assert sampled(*pair) == sampled(*pair) != whole(*pair)
    assert build_metric({**options, "max_positions": 48 * 41})(*pair) == whole(*pair)
    assert whole.describe() == "Contextual (RGB, border 0, uint8, conv1_1+conv1_2 of VGG19, bandwidth 0.5)"


@pytest.mark.thorough
def test_contextual_is_the_sum_over_its_layers(trunk, pair):
    options = {"type": "Contextual", "weights": str(trunk("vgg19"))}
    single = [build_metric({**options, "layers": [layer]})(*pair) for layer in ("conv1_1", "conv2_1")]
    assert build_metric({**options, "layers": ["conv1_1", "conv2_1"]})(*pair) == pytest.approx(sum(single), rel=1e-5)


@pytest.mark.parametrize("mistake", [{"bandwidth": 0}, {"max_positions": 1}, {"layers": ["conv9_1"]}])
def test_contextual_mistakes(trunk, mistake):
    with pytest.raises(ValueError, match="conv9_1" if "layers" in mistake else f"{next(iter(mistake))}: expected"):
        build_metric({"type": "Contextual", "weights": str(trunk("vgg19")), **mistake})


@pytest.mark.parametrize("name", ["LPIPS", "DISTS", "Contextual", "FID"])
def test_without_weights_nothing_is_downloaded_and_the_message_says_what_to_do(tmp_path, monkeypatch, name):
    def refuse(*arguments, **options):
        raise AssertionError("a download was tried")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(FileNotFoundError) as caught:
        build_metric({"type": name}, "val.metrics.m")
    expected = {"LPIPS": _FILES["alex"], "DISTS": "vgg16-397923af.pth", "Contextual": "vgg19-dcbb9e9d.pth"}
    for part in (
        "val.metrics.m: ",
        expected.get(name, "pt_inception-2015-12-05-6726825d.pth"),
        "https://",
        "`weights:`",
    ):
        assert part in str(caught.value)


def test_a_named_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"m: weights: there is no file .*absent.pth; expected AlexNet"):
        build_metric({"type": "LPIPS", "weights": str(tmp_path / "absent.pth")}, "m")


def test_a_file_of_another_network_says_what_it_lacks(trunk):
    with pytest.raises(ValueError, match=r"vgg16.pth does not contain AlexNet: it lacks features.3.weight, .* 3 more"):
        build_metric({"type": "LPIPS", "weights": str(trunk("vgg16"))})


def test_a_tensor_of_another_shape_is_named(trunk, tmp_path):
    state = torch.load(trunk("alexnet"), weights_only=True)
    torch.save(state | {"features.3.bias": torch.zeros(7)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"AlexNet: features.3.bias has the shape \[7\], expected \[192\]"):
        build_metric({"type": "LPIPS", "weights": str(tmp_path / "other.pth")})


def test_weights_may_be_safetensors(trunk, pair, tmp_path):
    save_file(torch.load(trunk("alexnet"), weights_only=True), tmp_path / "alex.safetensors")
    found = build_metric({"type": "LPIPS", "weights": str(tmp_path / "alex.safetensors")})(*pair)
    assert found == build_metric({"type": "LPIPS", "weights": str(trunk("alexnet"))})(*pair)


def test_building_says_nothing_about_torchvisions_arguments(trunk):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_metric({"type": "LPIPS", "weights": str(trunk("alexnet"))})
