"""The VGG trunk against torchvision's, the perceptual loss against basicsr's and against its formulas."""

from importlib.util import find_spec
from unittest import mock

import pytest
import torch

from uir.compat import load_basicsr, prepare
from uir.layers.vgg import WEIGHT_FILES, VGGFeatures, find_weights, layer_names
from uir.losses.perceptual_loss import PerceptualLoss, gram_matrix

needs_torchvision = pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")


def save_torchvision_vgg(path, vgg_type):
    """torchvision's network with seeded weights whose features neither vanish nor explode, saved as its users would."""
    prepare()
    import torchvision

    with torch.device("meta"):
        network = getattr(torchvision.models, vgg_type)()
    features = network.features.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for module in features:
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data.normal_(0, (2 / (9 * module.in_channels)) ** 0.5, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
        elif isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.8, 1.2, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.1, generator=generator)
            module.num_batches_tracked.zero_()
    torch.save({f"features.{key}": value for key, value in features.state_dict().items()}, path)
    return features


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(1, 3, 32, 36, generator=generator), torch.rand(1, 3, 32, 36, generator=generator)


@pytest.mark.thorough
@needs_torchvision
@pytest.mark.parametrize("vgg_type", list(WEIGHT_FILES))
def test_every_layer_equals_torchvision(tmp_path, pair, vgg_type):
    reference = save_torchvision_vgg(tmp_path / "vgg.pth", vgg_type)
    names = layer_names(vgg_type)
    assert len(names) == len(reference)
    ours = VGGFeatures(names, vgg_type, weights=tmp_path / "vgg.pth")(pair[0])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    feature = (pair[0] - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        for name, layer in zip(names, reference, strict=True):
            feature = layer(feature.clone())
            torch.testing.assert_close(ours[name], feature.clone(), rtol=1e-5, atol=1e-5)


@pytest.mark.thorough
@needs_torchvision
@pytest.mark.skipif(find_spec("basicsr") is None, reason="basicsr is not installed")
@pytest.mark.filterwarnings("ignore:The parameter 'pretrained'", "ignore:Arguments other than a weight enum")
def test_equals_basicsr(tmp_path, monkeypatch, pair):
    save_torchvision_vgg(tmp_path / "vgg.pth", "vgg11")
    load_basicsr()
    from basicsr.archs import vgg_arch
    from basicsr.losses.basic_loss import PerceptualLoss as Reference

    monkeypatch.setattr(vgg_arch, "VGG_PRETRAIN_PATH", str(tmp_path / "vgg.pth"))
    arguments = {
        "layer_weights": {"conv1_1": 0.1, "relu2_1": 0.5, "conv3_2": 1.0}, "vgg_type": "vgg11",
        "range_norm": True, "use_input_norm": True, "perceptual_weight": 0.7, "style_weight": 3.0, "criterion": "l1",
    }  # fmt: skip
    # basicsr builds all of vgg11 and loads it strictly; the file holds the trunk alone.
    with mock.patch.object(torch.nn.Module, "load_state_dict", _load_features):
        reference = Reference(**arguments)
    prediction, reference_prediction = pair[0].clone().requires_grad_(), pair[0].clone().requires_grad_()
    own = PerceptualLoss(**arguments, weights=str(tmp_path / "vgg.pth"))(prediction, pair[1])
    theirs = reference(reference_prediction, pair[1])
    torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-6)
    sum(own).backward()
    sum(theirs).backward()
    torch.testing.assert_close(prediction.grad, reference_prediction.grad, rtol=1e-3, atol=1e-6)


_strict_load = torch.nn.Module.load_state_dict


def _load_features(module, state, strict=True, assign=False):
    return _strict_load(module, state, strict=False, assign=assign)


@pytest.mark.parametrize(
    ("criterion", "distance"),
    [
        ("l1", lambda x, y: (x - y).abs().mean()),
        ("l2", lambda x, y: (x - y).square().mean()),
        ("fro", lambda x, y: (x - y).square().sum().sqrt()),
    ],
)
def test_criterion_is_a_distance_of_the_features(vgg11_weights, pair, criterion, distance):
    loss = PerceptualLoss({"conv1_1": 2.0}, "vgg11", criterion=criterion, weights=str(vgg11_weights))
    features = [loss.vgg(image)["conv1_1"] for image in pair]
    torch.testing.assert_close(loss(*pair)[0], 2 * distance(*features))


def test_input_norms_are_affine_maps_of_the_image(vgg11_weights, pair):
    image, mean, std = pair[0], torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (image - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    usual = VGGFeatures(["conv1_1"], "vgg11", weights=vgg11_weights)
    bare = VGGFeatures(["conv1_1"], "vgg11", use_input_norm=False, weights=vgg11_weights)
    ranged = VGGFeatures(["conv1_1"], "vgg11", range_norm=True, weights=vgg11_weights)
    torch.testing.assert_close(usual(image), bare(normalised))
    torch.testing.assert_close(ranged(2 * image - 1), usual(image), rtol=1e-4, atol=1e-5)


def test_style_compares_gram_matrices(vgg11_weights, pair):
    loss = PerceptualLoss({"relu1_1": 1.0}, "vgg11", perceptual_weight=0, style_weight=5, weights=str(vgg11_weights))
    features = [loss.vgg(image)["relu1_1"] for image in pair]
    grams = [torch.einsum("bihw,bjhw->bij", f, f) / (64 * 32 * 36) for f in features]
    perceptual, style = loss(*pair)
    assert perceptual is None
    torch.testing.assert_close(style, 5 * (grams[0] - grams[1]).abs().mean())
    torch.testing.assert_close(gram_matrix(features[0]), grams[0])


def test_style_is_off_unless_asked_for(vgg11_weights, pair):
    assert PerceptualLoss({"conv1_1": 1.0}, "vgg11", weights=str(vgg11_weights))(*pair)[1] is None


def test_vgg_is_frozen_and_stays_in_eval_mode(vgg11_weights, pair):
    loss = PerceptualLoss({"conv1_1": 1.0}, "vgg11", weights=str(vgg11_weights)).train()
    assert not any(p.requires_grad for p in loss.parameters())
    assert not any(module.training for module in loss.vgg.modules())
    prediction, target = pair[0].clone().requires_grad_(), pair[1].clone().requires_grad_()
    loss(prediction, target)[0].backward()
    assert prediction.grad.abs().sum() > 0
    assert target.grad is None


def test_trunk_ends_with_the_last_layer_asked_for(vgg11_weights):
    assert len(VGGFeatures(["relu1_1"], "vgg11", weights=vgg11_weights).features) == 2


def test_missing_weights_say_which_file_belongs_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(FileNotFoundError) as caught:
        PerceptualLoss({"conv5_4": 1.0})
    for part in ("vgg19-dcbb9e9d.pth", "hub/checkpoints", "experiments/pretrained_models", "weights:"):
        assert part in str(caught.value)


@pytest.mark.parametrize("folder", ["hub/checkpoints", "experiments/pretrained_models"])
def test_weights_are_found_in_the_usual_folders(tmp_path, monkeypatch, folder, vgg11_weights, pair):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    path = tmp_path / folder / WEIGHT_FILES["vgg11"]
    path.parent.mkdir(parents=True)
    path.write_bytes(vgg11_weights.read_bytes())
    assert find_weights("vgg11") == path
    assert PerceptualLoss({"conv1_1": 1.0}, "vgg11")(*pair)[0] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vgg_type": "vgg12"}, "vgg_type: expected one of vgg11"),
        ({"layer_weights": {"conv1_2": 1.0}}, "vgg11 has no layer 'conv1_2'; it has conv1_1, relu1_1"),
        ({"layer_weights": {}}, "no layer of vgg11 is named"),
        ({"layer_weights": {"conv2_1": 1.0}}, "does not contain vgg11"),
        ({"criterion": "l3"}, "criterion: expected l1, l2, fro, got 'l3'"),
        ({"style_weight": -1}, "style_weight: expected a number of at least 0"),
    ],
)
def test_wrong_arguments_are_named(vgg11_weights, arguments, message):
    usual = {"layer_weights": {"conv1_1": 1.0}, "vgg_type": "vgg11", "weights": str(vgg11_weights)}
    with pytest.raises(ValueError, match=message):
        PerceptualLoss(**{**usual, **arguments})


def test_a_file_that_is_not_weights_is_named(tmp_path):
    path = tmp_path / "vgg.pth"
    path.write_text("not weights")
    with pytest.raises(ValueError, match=r"vgg\.pth: cannot be read as weights"):
        VGGFeatures(["conv1_1"], weights=path)
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        VGGFeatures(["conv1_1"], weights=tmp_path / "absent.pth")


def test_images_too_small_to_pool_are_refused(vgg11_weights):
    vgg = VGGFeatures(["pool1"], "vgg11", weights=vgg11_weights)
    with pytest.raises(ValueError, match=r"at least 2 pixels, got \[1, 3, 1, 8\]"):
        vgg(torch.zeros(1, 3, 1, 8))
