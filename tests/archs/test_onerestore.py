"""OneRestore: attention by a descriptor, scenes and their names, the losses of composite degradations."""

import pytest
import torch
from arch_configs import ARCH_CONFIGS
from torch.nn import functional as F

from uir.archs.onerestore_arch import OneRestore, SceneAttention
from uir.data.scenes_dataset import ScenesDataset
from uir.encoders.scene_encoder import SceneEmbedder, _vectors_of_names
from uir.layers.degradation_code import DegradationCode
from uir.losses.msssim_loss import MSSSIMLoss
from uir.losses.scene_loss import CompositeContrastiveLoss


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def embedder():
    pytest.importorskip("timm")
    return SceneEmbedder(**ARCH_CONFIGS["SceneEmbedder"]).eval()


def test_the_descriptor_is_the_query_of_every_channel():
    attention, x, descriptor = SceneAttention(6, 2, 9), torch.randn(2, 6, 5, 7), torch.randn(2, 9)
    keys, values = attention.kv_dwconv(attention.kv(x)).chunk(2, 1)
    small = F.interpolate(keys, (3, 3), mode="bilinear").flatten(2)
    queries = attention.q(descriptor)[:, None].expand(-1, 6, -1)
    heads = []
    for q, k, v in zip(queries.chunk(2, 1), small.chunk(2, 1), values.flatten(2).chunk(2, 1), strict=True):
        heads.append((F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(1, 2)).softmax(-1) @ v)
    expected = attention.project_out(torch.cat(heads, 1).unflatten(2, (5, 7)))
    torch.testing.assert_close(attention(x, descriptor), expected)


@torch.no_grad()
def test_another_scene_restores_otherwise_and_no_scene_counts_all_channels_alike():
    network, lq = OneRestore(**ARCH_CONFIGS["OneRestore"]), torch.rand(1, 3, 13, 22)
    one, other = (network(lq, DegradationCode(vector=torch.randn(1, 9))) for _ in range(2))
    assert not torch.equal(one, other)
    assert network(lq).shape == lq.shape


def test_a_name_is_the_mean_of_its_words_and_the_same_everywhere(embedder):
    low, haze, both = _vectors_of_names(["low", "haze", "low_haze"], None)
    torch.testing.assert_close(both, (low + haze) / 2)
    other = SceneEmbedder(**ARCH_CONFIGS["SceneEmbedder"])
    assert torch.equal(other.descriptors, embedder.descriptors)
    assert "descriptors" in other.state_dict()


@torch.no_grad()
def test_the_descriptor_is_that_of_the_scene_that_fits_best(embedder):
    code = embedder(torch.rand(3, 3, 64, 64))
    torch.testing.assert_close(code.vector, embedder.describe(code.logits.argmax(1)).vector)


def test_words_come_from_a_file_of_vectors(tmp_path):
    pytest.importorskip("timm")
    rows = {"low": [1.0] * 300, "haze": [3.0] * 300, "other": [5.0] * 300}
    file = tmp_path / "glove.txt"
    file.write_text("".join(f"{word} {' '.join(map(str, numbers))}\n" for word, numbers in rows.items()))
    assert _vectors_of_names(["low", "low_haze"], str(file))[:, 0].tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="has no vector of 300 numbers for 'snow'"):
        SceneEmbedder(scenes=["low", "snow"], glove=str(file))


def test_the_contrast_is_the_distance_to_the_clean_image_over_that_to_degraded_ones():
    restored, gt, lq = torch.rand(3, 2, 3, 8, 8)
    negatives = torch.rand(2, 4, 3, 8, 8)
    away = sum((restored - image).abs().mean() for image in (lq, *negatives.unbind(1))) / 5
    loss = CompositeContrastiveLoss(loss_weight=0.5, vgg_type=None)(restored, gt, lq, negatives)
    torch.testing.assert_close(loss, 0.5 * (restored - gt).abs().mean() / away)


def test_similarity_at_several_scales_needs_images_large_enough():
    pytest.importorskip("torchmetrics")
    image = torch.rand(1, 3, 48, 48)
    assert MSSSIMLoss(scales=3)(image, image) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="3 scales need images of at least 44 pixels"):
        MSSSIMLoss(scales=3)(image[..., :40], image[..., :40])


def test_all_scenes_of_a_sample_have_the_same_clean_crop(pair_folders):
    clean = {"type": "DegradedImageDataset", "dataroot_gt": str(pair_folders / "gt")}
    degradations = {"haze": "Haze", "low": "LowLight", "noise": "GaussianNoise"}
    scenes = {scene: {**clean, "degradation": {"type": op}} for scene, op in degradations.items()}
    dataset = ScenesDataset(scenes, gt_size=24, use_hflip=True, use_rot=True)
    samples = [dataset.sample(index, seed) for index in range(1) for seed in range(30)]
    assert {sample["degradation"].label for sample in samples} == set(scenes)
    assert all(sample["negatives"].shape == (2, 3, 24, 24) for sample in samples)
    assert all(sample["lq"].shape == sample["gt"].shape == (3, 24, 24) for sample in samples)


def test_a_scene_that_cannot_be_built_is_named_by_its_own_key(pair_folders):
    clean = {"type": "DegradedImageDataset", "dataroot_gt": str(pair_folders / "gt"), "degradation": {"type": "Haze"}}
    with pytest.raises(ValueError, match=r"^scenes\.low: .*gt_size"):
        ScenesDataset({"haze": clean, "low": {**clean, "gt_size": -1}})


def test_scenes_of_different_photographs_are_refused(pair_folders):
    roots = {scene: str(pair_folders / folder) for scene, folder in (("haze", "gt"), ("low", "lq"))}
    scenes = {
        scene: {"type": "DegradedImageDataset", "dataroot_gt": root, "degradation": {"type": "Haze"}}
        for scene, root in roots.items()
    }
    with pytest.raises(ValueError, match="all scenes need the same clean images"):
        ScenesDataset(scenes, gt_size=16).sample(0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"code_channels": 10}, r"OneRestore\.code_channels: expected a square"),
        ({"num_blocks": [1, 1]}, r"OneRestore\.num_blocks: expected 4 numbers"),
        ({"channels": 6}, "heads: 6 channels cannot be divided into 8 heads"),
    ],
)
def test_refuses_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        OneRestore(**arguments)
