"""Two crops degraded alike, and renditions in a known order."""

import numpy as np
import pytest
import torch

from uir.core.images import write_image
from uir.data.contrastive_dataset import ContrastiveDataset, RankingDataset
from uir.data.held_out_dataset import HeldOutImageDataset
from uir.data.loading import build_train_loader
from uir.data.multi_task_dataset import MultiTaskDataset
from uir.degradations.base import replay

ANISO = {"type": "dasr_wang_aniso", "scale": 2}
FACTORS = ["AnisotropicGaussianBlur.sigma_x_px", "AnisotropicGaussianBlur.sigma_y_px", "GaussianNoise.sigma_255"]


@pytest.fixture
def clean(tmp_path):
    """A folder of three photographs of 60 x 52 pixels, each of one grey."""
    for number in range(3):
        write_image(tmp_path / f"{number}.png", np.full((60, 52, 3), 80 + 40 * number, np.uint8))
    return str(tmp_path)


@pytest.fixture
def photographed(photographs):
    return str(photographs[0].parent)


def test_both_crops_have_one_record(photographed):
    item = ContrastiveDataset(photographed, ANISO, gt_size=32, scale=2, use_hflip=True, use_rot=True).sample(0, seed=4)
    assert item["lq"].shape == item["lq_key"].shape == (3, 16, 16)
    assert torch.equal(replay(item["degradation"], item["gt"]), item["lq"])
    assert (item["lq"] - item["lq_key"]).abs().max() > 0.05


def test_the_noise_of_the_second_crop_is_another_draw_of_the_same_strength(clean):
    noise = {"type": "GaussianNoise", "sigma": [5, 25], "clip": False}
    dataset = ContrastiveDataset(clean, noise, gt_size=48)
    for seed in range(3):
        item = dataset.sample(1, seed)
        sigma = item["degradation"].steps[0]["sigma_255"]
        grey = 120 / 255
        first, second = ((item[key] - grey) * 255 for key in ("lq", "lq_key"))
        assert float(first.std()) == pytest.approx(sigma, rel=0.05)
        assert float(second.std()) == pytest.approx(sigma, rel=0.05)
        assert float((first * second).mean()) / sigma**2 == pytest.approx(0, abs=0.05)


def test_the_seed_decides_everything(photographed):
    dataset = ContrastiveDataset(photographed, ANISO, gt_size=32, scale=2)
    one, again, other = dataset.sample(0, 1), dataset.sample(0, 1), dataset.sample(0, 2)
    assert torch.equal(one["lq_key"], again["lq_key"])
    assert not torch.equal(one["lq_key"], other["lq_key"])


def test_renditions_are_in_order(photographed):
    dataset = RankingDataset(photographed, ANISO, FACTORS, gt_size=32, scale=2, label="sr")
    item = dataset.sample(1, seed=2)
    assert item["renditions"].shape == (6, 3, 16, 16)
    assert torch.equal(item["renditions"][0], item["lq"])
    assert item["orders"][[0, 1, 5]].tolist() == [0, 0, -1]
    assert set(item["orders"][2:5].tolist()) <= {1, -1}
    assert item["degradation"].label == "sr"
    assert len({rendition.numpy().tobytes() for rendition in item["renditions"]}) == 6


def test_all_versions_but_the_query_are_of_the_other_crop(photographed):
    """Without a degradation that hides it, the content of each version tells its crop."""
    noise = {"type": "GaussianNoise", "sigma": [0.0, 0.5], "clip": False}
    ranked = RankingDataset(photographed, noise, ["GaussianNoise.sigma_255"], gt_size=32, use_hflip=True, use_rot=True)
    contrasted = ContrastiveDataset(photographed, noise, gt_size=32, use_hflip=True, use_rot=True)
    for seed in range(5):
        item, pair = ranked.sample(0, seed), contrasted.sample(0, seed)
        assert torch.equal(item["lq"], pair["lq"])
        query, equal, changed, clean = item["renditions"]
        assert float((clean - item["gt"]).abs().mean()) > 0.02
        for one, other in ((query, item["gt"]), (equal, clean), (changed, clean), (pair["lq_key"], clean)):
            assert float((one - other).abs().mean()) < 0.003
        assert len({one.numpy().tobytes() for one in (equal, changed, clean, pair["lq_key"])}) == 4


def test_more_noise_is_ranked_as_more_severe(clean):
    noise = {"type": "GaussianNoise", "sigma": [1, 25], "clip": False}
    dataset = RankingDataset(clean, noise, ["GaussianNoise.sigma_255"], gt_size=48)
    for seed in range(6):
        item = dataset.sample(0, seed)
        query, _, changed, cleaned = (float(rendition.std()) for rendition in item["renditions"])
        assert (changed > query) == (item["orders"][2] == 1)
        assert cleaned == pytest.approx(0, abs=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_hold_both(photographed, workers):
    for dataset, key, shape in (
        (ContrastiveDataset(photographed, ANISO, gt_size=32, scale=2), "lq_key", (2, 3, 16, 16)),
        (RankingDataset(photographed, ANISO, FACTORS, gt_size=32, scale=2), "renditions", (2, 6, 3, 16, 16)),
    ):
        loader, _ = build_train_loader(dataset, batch_size=2, workers=workers, seed=1)
        batch = next(iter(loader))
        assert batch[key].shape == shape
        assert len(batch["degradation"]) == 2


def test_it_is_a_task_among_others(photographed):
    task = {"type": "ContrastiveDataset", "dataroot_gt": photographed, "degradation": {"type": "Haze"}}
    dataset = MultiTaskDataset({"haze": task, "more": task}, gt_size=16)
    item = dataset.sample(0, 3)
    assert item["lq_key"].shape == (3, 16, 16)
    assert item["degradation"].label in ("haze", "more")


def test_validation_gives_plain_pairs(photographed):
    item = ContrastiveDataset(photographed, ANISO, scale=2, phase="val").sample(0, 0)
    assert "lq_key" not in item
    assert item["gt"].shape[-1] == 2 * item["lq"].shape[-1]


def test_mistakes_are_told(photographed):
    with pytest.raises(ValueError, match="ContrastiveDataset needs a gt_size"):
        ContrastiveDataset(photographed, ANISO, scale=2)
    with pytest.raises(ValueError, match="correct the degradation, or `scale`"):
        ContrastiveDataset(photographed, ANISO, gt_size=32)
    with pytest.raises(ValueError, match=r"the factor 'Haze\.beta' is not in"):
        RankingDataset(photographed, ANISO, ["Haze.beta"], gt_size=32, scale=2)
    with pytest.raises(ValueError, match="factors: expected a list"):
        RankingDataset(photographed, ANISO, gt_size=32, scale=2)


def test_renditions_of_grey_images_have_one_channel(clean):
    noise = {"type": "GaussianNoise", "sigma": [5, 25]}
    item = RankingDataset(clean, noise, ["GaussianNoise.sigma_255"], gt_size=32, color="grey").sample(0, 1)
    assert (item["renditions"].shape, item["lq"].shape) == ((4, 1, 32, 32), (1, 32, 32))


def test_held_out_photographs_are_those_of_the_other_data_sets(photographed):
    arguments = {"dataroot_gt": str(photographed), "degradation": ANISO, "held_out": 1, "scale": 2}
    for phase in ("train", "val"):
        ours = ContrastiveDataset(**arguments, gt_size=32, phase=phase)
        theirs = HeldOutImageDataset(**arguments, gt_size=32, phase=phase)
        assert ours.images.names == theirs.images.names
    with pytest.raises(ValueError, match="held_out: got 99"):
        ContrastiveDataset(**{**arguments, "held_out": 99}, gt_size=32)
