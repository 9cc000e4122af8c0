"""From a dataset to batches."""

import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset

from uir.core.images import UnreadableImageError, write_image
from uir.data.degraded_image_dataset import DegradedImageDataset
from uir.data.loading import (
    SampleKey,
    SeededDataset,
    build_eval_loader,
    build_train_loader,
    collate_samples,
    draw_sample,
    seeded_globals,
)
from uir.data.multi_task_dataset import MultiTaskDataset
from uir.data.paired_image_dataset import PairedImageDataset
from uir.degradations.record import DegradationRecord, RecordBatch


class ForeignDataset(Dataset):
    """Written like BasicSR's: randomness of all kinds from the global generators."""

    opt = {"name": "foreign"}

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return {"lq": torch.tensor([index, random.random(), np.random.rand(), torch.rand(()).item()])}


def global_states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


@pytest.fixture
def roots(tmp_path):
    """The two folders of a paired set of eight images of 10 x 10 pixels."""
    for number in range(8):
        for kind in ("lq", "gt"):
            image = np.random.default_rng(number).integers(0, 256, (10, 10, 3)).astype(np.uint8)
            write_image(tmp_path / kind / f"{number}.png", image)
    return {"dataroot_gt": str(tmp_path / "gt"), "dataroot_lq": str(tmp_path / "lq")}


@pytest.fixture
def dataset(roots):
    """All kinds of tasks in one."""
    noise = {
        "type": "DegradedImageDataset",
        "dataroot_gt": roots["dataroot_gt"],
        "degradation": {"type": "RainStreaks"},
    }
    return MultiTaskDataset(
        {"noise": noise, "blur": {"type": "PairedImageDataset", **roots}}, gt_size=8, use_hflip=True, use_rot=True
    )


def epochs(dataset, workers, count=2, **options):
    loader, sampler = build_train_loader(dataset, batch_size=3, workers=workers, seed=1, **options)
    found = []
    for epoch in range(count):
        sampler.set_epoch(epoch)
        found.append(list(loader))
    return found


def assert_equal_batches(ours, theirs):
    for one, two in zip(ours, theirs, strict=True):
        assert one.keys() == two.keys()
        for key in one:
            assert torch.equal(one[key], two[key]) if isinstance(one[key], torch.Tensor) else one[key] == two[key]


@pytest.mark.thorough
def test_the_number_of_workers_changes_nothing(dataset):
    for alone, helped in zip(epochs(dataset, 0), epochs(dataset, 2), strict=True):
        assert_equal_batches(alone, helped)


@pytest.mark.thorough
def test_the_number_of_workers_changes_nothing_for_a_foreign_dataset():
    for alone, helped in zip(epochs(ForeignDataset(), 0), epochs(ForeignDataset(), 2), strict=True):
        assert_equal_batches(alone, helped)


def test_the_number_of_threads_changes_nothing_and_is_kept(dataset):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        (one,) = epochs(dataset, 0, count=1)
        torch.set_num_threads(2)
        (two,) = epochs(dataset, 0, count=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert_equal_batches(one, two)


def test_epochs_differ_in_order_and_augmentation(roots):
    first, second = epochs(PairedImageDataset(**roots, gt_size=8, use_hflip=True, use_rot=True), 0)
    assert [batch["lq_path"] for batch in first] != [batch["lq_path"] for batch in second]
    images = [
        {path: image for batch in epoch for path, image in zip(batch["lq_path"], batch["lq"], strict=True)}
        for epoch in (first, second)
    ]
    common = images[0].keys() & images[1].keys()
    assert any(not torch.equal(images[0][path], images[1][path]) for path in common)


def test_skipping_batches_gives_the_rest_of_the_epoch(dataset):
    loader, sampler = build_train_loader(dataset, batch_size=3, workers=0, seed=1)
    whole = list(loader)
    sampler.set_epoch(0, skip_batches=2)
    assert_equal_batches(list(loader), whole[2:])


def test_a_batch_holds_the_contract(dataset):
    batch = epochs(dataset, 0, count=1)[0][0]
    assert batch["lq"].shape == batch["gt"].shape == (3, 3, 8, 8)
    assert batch["lq"].dtype == torch.float32
    assert isinstance(batch["degradation"], RecordBatch)
    assert set(batch["degradation"].labels) <= {"noise", "blur"}
    assert batch["skipped"] == []
    assert len(batch["lq_path"]) == len(batch["gt_path"]) == 3


def test_no_global_random_state_is_touched(dataset):
    before = global_states()
    epochs(dataset, 0)
    epochs(ForeignDataset(), 0)
    list(build_eval_loader(dataset))
    assert global_states() == before


def test_a_foreign_dataset_is_reproducible():
    first, other = draw_sample(ForeignDataset(), 2, 5)["lq"], draw_sample(ForeignDataset(), 2, 6)["lq"]
    assert torch.equal(first, draw_sample(ForeignDataset(), 2, 5)["lq"])
    assert bool((first[1:] != other[1:]).all())


def test_the_global_state_comes_back_after_an_error():
    before = global_states()
    with pytest.raises(OSError, match="drawn"), seeded_globals(3):
        raise OSError(f"drawn: {random.random()}")
    assert global_states() == before


def test_a_subset_keeps_its_dataset_s_seeds(roots):
    dataset = PairedImageDataset(**roots, gt_size=4)
    assert torch.equal(draw_sample(Subset(dataset, [5, 2]), 1, 9)["lq"], dataset.sample(2, 9)["lq"])


def test_a_bare_index_gives_the_dataset_s_own_sample(roots):
    dataset = PairedImageDataset(**roots, gt_size=4)
    assert torch.equal(SeededDataset(dataset)[3]["lq"], dataset[3]["lq"])


def test_basicsr_finds_the_name_of_any_dataset(roots):
    assert SeededDataset(PairedImageDataset(**roots, name="GoPro")).opt["name"] == "GoPro"
    assert SeededDataset(ForeignDataset()).name == "foreign"


def test_attributes_of_the_wrapped_dataset_are_there_too():
    dataset = ForeignDataset()
    dataset.data_info = {"folder": ["001"]}
    seeded = pickle.loads(pickle.dumps(SeededDataset(dataset)))  # as a loading process gets it
    assert seeded.data_info == {"folder": ["001"]}
    assert not hasattr(seeded, "nothing_like_it")


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_image_is_replaced_by_the_next_and_named(roots, tmp_path, workers):
    dataset = PairedImageDataset(**roots, gt_size=4)
    (tmp_path / "lq" / "3.png").write_bytes((tmp_path / "lq" / "3.png").read_bytes()[:60])
    loader, _ = build_train_loader(dataset, batch_size=4, workers=workers, seed=0)
    batches = list(loader)
    assert [path for batch in batches for path in batch["skipped"]] == [str(tmp_path / "lq" / "3.png")]
    paths = sorted(path for batch in batches for path in batch["lq_path"])
    assert paths.count(str(tmp_path / "lq" / "4.png")) == 2
    assert len(paths) == 8


def test_a_file_that_vanished_is_skipped_too(roots, tmp_path):
    dataset = PairedImageDataset(**roots, gt_size=4)
    (tmp_path / "gt" / "7.png").unlink()
    item = SeededDataset(dataset)[SampleKey(7, 1)]
    assert item["skipped"] == [str(tmp_path / "gt" / "7.png")]
    assert item["lq_path"].endswith("0.png")


def test_a_dataset_of_nothing_but_corrupt_images_stops(roots, tmp_path):
    dataset = PairedImageDataset(**roots, gt_size=4)
    for path in (tmp_path / "lq").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UnreadableImageError, match=r"2\.png: the file is empty"):
        SeededDataset(dataset)[3]


def test_an_evaluation_stops_at_a_corrupt_image(roots, tmp_path):
    loader = build_eval_loader(PairedImageDataset(**roots, phase="val"))
    (tmp_path / "lq" / "1.png").write_bytes(b"nothing")
    with pytest.raises(UnreadableImageError, match=r"1\.png"):
        list(loader)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_evaluation_goes_through_all_images_in_order(roots, workers):
    batches = list(build_eval_loader(PairedImageDataset(**roots, phase="val"), workers))
    assert [path[-5:] for batch in batches for path in batch["lq_path"]] == [f"{number}.png" for number in range(8)]
    assert batches[0]["lq"].shape == (1, 3, 10, 10)


def test_an_evaluation_degrades_alike_every_time(roots):
    dataset = DegradedImageDataset(roots["dataroot_gt"], {"type": "GaussianNoise"}, phase="val")
    assert_equal_batches(list(build_eval_loader(dataset)), list(build_eval_loader(dataset)))


def test_a_dataset_smaller_than_a_batch_is_an_error(roots):
    dataset = PairedImageDataset(**roots, gt_size=4)
    with pytest.raises(ValueError, match=r"8 images x dataset_enlarge_ratio 1 = 8 samples, fewer than batch size 9"):
        build_train_loader(dataset, batch_size=9, workers=0, seed=0)
    with pytest.raises(ValueError, match="batch size 5 x 2 processes"):
        build_train_loader(dataset, batch_size=5, workers=0, seed=0, world_size=2)
    loader, _ = build_train_loader(dataset, batch_size=9, workers=0, seed=0, ratio=2)
    assert len(loader) == 1


def test_images_of_different_sizes_ask_for_a_gt_size(roots, tmp_path):
    for kind in ("lq", "gt"):
        write_image(tmp_path / kind / "8.png", np.zeros((6, 10, 3)))
    dataset = PairedImageDataset(**roots)
    with pytest.raises(
        ValueError, match=r"'lq' differ .*\[3, 10, 10\] of .*7\.png and \[3, 6, 10\] of .*8\.png.*gt_size"
    ):
        collate_samples([dataset[7], dataset[8]])


def test_samples_that_hold_different_things_are_an_error():
    with pytest.raises(ValueError, match=r"not all of them have \['gt'\]"):
        collate_samples([{"lq": torch.zeros(1), "gt": torch.zeros(1)}, {"lq": torch.zeros(1)}])


def test_samples_without_a_record_get_an_unknown_one():
    batch = collate_samples([{"lq": torch.zeros(1)}, {"lq": torch.zeros(1), "degradation": DegradationRecord(())}])
    assert list(batch["degradation"]) == [DegradationRecord(None), DegradationRecord(())]


def test_workers_stay_from_epoch_to_epoch_unless_told_otherwise(roots):
    dataset = PairedImageDataset(**roots, gt_size=4)
    options = {"batch_size": 2, "workers": 1, "seed": 0}
    assert build_train_loader(dataset, **options)[0].persistent_workers
    assert not build_train_loader(dataset, **options, persistent_workers=False)[0].persistent_workers


def test_a_basicsr_dataset_is_loaded_alike_in_every_layout(roots, basicsr):
    options = {**roots, "gt_size": 8, "use_hflip": True, "use_rot": True, "scale": 1, "phase": "train"}
    options = {"name": "x", "type": "PairedImageDataset", "io_backend": {"type": "disk"}, **options}
    dataset = basicsr.data.build_dataset(options)
    (alone,), (helped,) = epochs(dataset, 0, count=1), epochs(basicsr.data.build_dataset(options), 2, count=1)
    assert_equal_batches(alone, helped)


@pytest.mark.thorough
def test_workers_left_behind_do_not_keep_a_program_from_ending(roots):
    program = """
import sys
from uir.data.loading import build_eval_loader
from uir.data.paired_image_dataset import PairedImageDataset
kept = iter(build_eval_loader(PairedImageDataset(dataroot_gt=sys.argv[1], dataroot_lq=sys.argv[2]), workers=1))
next(kept)
"""
    command = [sys.executable, "-c", program, roots["dataroot_gt"], roots["dataroot_lq"]]
    subprocess.run(command, check=True, timeout=60)
