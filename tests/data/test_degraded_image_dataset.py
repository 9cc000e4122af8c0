"""Clean images, degraded as they are read."""

import numpy as np
import pytest
import torch

from uir.core.images import read_rgb, to_tensor, write_image
from uir.data.degraded_image_dataset import DegradedImageDataset
from uir.data.loading import build_train_loader
from uir.data.multi_task_dataset import MultiTaskDataset
from uir.data.pair_pool import PairPool
from uir.data.stream import BatchStream
from uir.degradations.base import replay

NOISE = {"type": "GaussianNoise", "sigma": [20, 30]}


@pytest.fixture
def clean(tmp_path):
    """A folder of four photographs of 12 x 10 pixels."""
    for number in range(4):
        image = np.random.default_rng(number).integers(0, 256, (12, 10, 3)).astype(np.uint8)
        write_image(tmp_path / "sub" / f"{number}.png", image)
    return str(tmp_path)


def test_the_record_replays_the_sample_after_crop_and_flip(clean):
    dataset = DegradedImageDataset(clean, NOISE, gt_size=8, use_hflip=True, use_rot=True, label="noise")
    item = dataset.sample(1, seed=3)
    assert item["gt"].shape == item["lq"].shape == (3, 8, 8)
    assert item["lq"].dtype == torch.float32
    assert item["lq"].is_contiguous()
    assert item["gt"].is_contiguous()
    assert item["degradation"].label == "noise"
    assert item["degradation"].ops == ("GaussianNoise",)
    assert torch.equal(replay(item["degradation"], item["gt"]), item["lq"])
    assert item["lq_path"] == item["gt_path"] == f"{clean}/sub/1.png"


def test_the_seed_decides_crop_flip_and_degradation(clean):
    dataset = DegradedImageDataset(clean, NOISE, gt_size=8, use_hflip=True, use_rot=True)
    first, again, other = dataset.sample(0, 1), dataset.sample(0, 1), dataset.sample(0, 2)
    assert torch.equal(first["lq"], again["lq"])
    assert first["degradation"] == again["degradation"] != other["degradation"]
    assert not torch.equal(first["gt"], other["gt"])


def test_another_degradation_leaves_crop_and_flip_alone(clean):
    noise = DegradedImageDataset(clean, NOISE, gt_size=8, use_hflip=True, use_rot=True)
    haze = DegradedImageDataset(clean, {"type": "Haze"}, gt_size=8, use_hflip=True, use_rot=True)
    assert torch.equal(noise.sample(2, 9)["gt"], haze.sample(2, 9)["gt"])


def test_evaluation_is_whole_and_always_the_same(clean):
    dataset = DegradedImageDataset(clean, NOISE, gt_size=8, phase="val", use_hflip=True)
    first, again = dataset.sample(1, seed=1), dataset.sample(1, seed=2)
    assert torch.equal(first["gt"], to_tensor(read_rgb(f"{clean}/sub/1.png")))
    assert torch.equal(first["lq"], again["lq"])
    assert dataset[0]["degradation"] != dataset[1]["degradation"]


def test_evaluation_of_an_image_does_not_depend_on_the_others(clean):
    whole = DegradedImageDataset(clean, NOISE, phase="test")
    part = DegradedImageDataset(f"{clean}/sub", NOISE, phase="test")
    assert whole.images.names[0] == "sub/0.png"
    write_image(f"{clean}/sub/00.png", np.zeros((12, 10, 3)))
    more = DegradedImageDataset(f"{clean}/sub", NOISE, phase="test")
    assert torch.equal(more[2]["lq"], part[1]["lq"])


def test_the_evaluation_seed_gives_other_degradations(clean):
    one, two = (DegradedImageDataset(clean, NOISE, phase="val", seed=seed)[0]["lq"] for seed in (0, 1))
    assert not torch.equal(one, two)


def test_a_degradation_that_does_not_match_the_scale_is_an_error(clean):
    with pytest.raises(ValueError, match=r"gave 12x10 .* divided by scale 2"):
        DegradedImageDataset(clean, NOISE, phase="val", scale=2)


def test_a_patch_larger_than_the_image_is_an_error(clean):
    with pytest.raises(ValueError, match=r"0\.png: the image is 12x10"):
        DegradedImageDataset(clean, NOISE, gt_size=11)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="dataroot_gt: there is no image"):
        DegradedImageDataset(str(tmp_path), NOISE)


def streamed(dataset, batches=3, pool=None):
    loader, sampler = build_train_loader(dataset, batch_size=2, workers=0, seed=0)
    stream = BatchStream(loader, sampler, pool)
    return [stream.next() for _ in range(batches)]


def test_batches_degraded_on_the_device_are_those_of_the_workers(clean):
    in_workers = streamed(DegradedImageDataset(clean, NOISE, gt_size=8, label="noise"))
    on_device = streamed(DegradedImageDataset(clean, NOISE, gt_size=8, label="noise", degrade_on="device"))
    for one, other in zip(in_workers, on_device, strict=True):
        assert set(one) == set(other)
        assert one["degradation"] == other["degradation"]
        assert torch.equal(one["lq"], other["lq"])
        assert torch.equal(one["gt"], other["gt"])


def test_a_pool_holds_finished_samples(clean):
    batches = streamed(DegradedImageDataset(clean, NOISE, gt_size=8, degrade_on="device"), 6, PairPool(4, 0))
    for batch in batches:
        for lq, gt, record in zip(batch["lq"], batch["gt"], batch["degradation"], strict=True):
            assert torch.equal(replay(record, gt), lq)


def test_a_crop_after_degrading_cuts_both_images_alike(clean):
    whole = DegradedImageDataset(clean, NOISE, gt_size=8).sample(0, 1)
    cut = DegradedImageDataset(clean, NOISE, gt_size=8, crop_size=4).sample(0, 1)
    assert cut["lq"].shape == cut["gt"].shape == (3, 4, 4)
    places = [
        (top, left)
        for top in range(5)
        for left in range(5)
        if torch.equal(whole["gt"][:, top : top + 4, left : left + 4], cut["gt"])
    ]
    assert len(places) == 1
    top, left = places[0]
    assert torch.equal(whole["lq"][:, top : top + 4, left : left + 4], cut["lq"])


def test_the_target_is_made_of_the_clean_image(clean):
    plain = DegradedImageDataset(clean, NOISE, gt_size=8).sample(0, 1)
    darkened = DegradedImageDataset(clean, NOISE, gt_size=8, target={"type": "LowLight"}).sample(0, 1)
    assert torch.equal(plain["lq"], darkened["lq"])
    assert darkened["gt"].mean() < plain["gt"].mean()


def test_a_changed_source_reaches_both_sides_in_training_alone(clean):
    changed = {"source": {"type": "Gamma", "gamma": 2.0}, "degradation": {"type": "Mark", "label": "clean"}}
    plain = DegradedImageDataset(clean, NOISE, gt_size=8).sample(0, 1)
    sample = DegradedImageDataset(clean, gt_size=8, **changed).sample(0, 1)
    torch.testing.assert_close(sample["gt"], plain["gt"] ** 2)
    assert torch.equal(sample["lq"], sample["gt"])
    assert torch.equal(
        DegradedImageDataset(clean, phase="val", **changed)[0]["gt"],
        DegradedImageDataset(clean, NOISE, phase="val")[0]["gt"],
    )


def test_wrong_crops_and_places_are_told(clean):
    with pytest.raises(ValueError, match=r"crop_size: got 9; expected a multiple of scale 1 that is at most gt_size"):
        DegradedImageDataset(clean, NOISE, gt_size=8, crop_size=9)
    with pytest.raises(ValueError, match="degrade_on: got 'gpu'; expected worker or device"):
        DegradedImageDataset(clean, NOISE, gt_size=8, degrade_on="gpu")
    task = {"type": "DegradedImageDataset", "dataroot_gt": clean, "degradation": NOISE, "degrade_on": "device"}
    with pytest.raises(ValueError, match=r"tasks.noise: degrade_on 'device' needs a training set for it alone"):
        MultiTaskDataset({"noise": task}, gt_size=8)
