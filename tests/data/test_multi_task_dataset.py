"""Several tasks as one dataset."""

import itertools

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from uir.core.images import write_image
from uir.data.loading import EpochBatchSampler, build_train_loader
from uir.data.multi_task_dataset import MultiTaskDataset
from uir.registry import DATASET_REGISTRY, UnknownNameError

SIZES = {"many": 16, "some": 4, "few": 1}


class ForeignTask(Dataset):
    """A plug-in in BasicSR's manner: one dictionary, plain indexing, global randomness."""

    def __init__(self, opt):
        self.opt = opt

    def __len__(self):
        return self.opt["count"]

    def __getitem__(self, index):
        return {"lq": torch.rand(3, 4, 4), "gt": torch.zeros(3, 4, 4), "lq_path": f"{index}", "gt_path": f"{index}"}


@pytest.fixture(autouse=True)
def plug_in(monkeypatch):
    """Registered for the length of a test."""
    monkeypatch.setitem(DATASET_REGISTRY._objects["plugin"], "ForeignTask", ForeignTask)


def counted(count):
    return {"type": "ForeignTask", "count": count}


def mixture(**options):
    return MultiTaskDataset({task: counted(size) for task, size in SIZES.items()}, **options)


@pytest.fixture
def roots(tmp_path):
    """The two folders of a paired set of three images of 8 x 8 pixels."""
    for number in range(3):
        for kind in ("lq", "gt"):
            image = np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8)
            write_image(tmp_path / kind / f"{number}.png", image)
    return {"dataroot_gt": str(tmp_path / "gt"), "dataroot_lq": str(tmp_path / "lq")}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sampling": "size"}, {"many": 16 / 21, "some": 4 / 21, "few": 1 / 21}),
        ({"sampling": "uniform"}, {"many": 1 / 3, "some": 1 / 3, "few": 1 / 3}),
        ({"sampling": "temperature", "temperature": 2.0}, {"many": 4 / 7, "some": 2 / 7, "few": 1 / 7}),
        ({"sampling": "temperature", "temperature": 1.0}, {"many": 16 / 21, "some": 4 / 21, "few": 1 / 21}),
        ({"ratios": {"some": 2.5, "few": 6}}, {"many": 16 / 32, "some": 10 / 32, "few": 6 / 32}),
        ({"ratios": {"few": 9}, "sampling": "temperature"}, {"many": 4 / 9, "some": 2 / 9, "few": 3 / 9}),
        ({"ratios": {"few": 9}, "sampling": "uniform"}, {"many": 1 / 11, "some": 1 / 11, "few": 9 / 11}),
    ],
)
def test_shares(options, expected):
    assert mixture(**options).shares() == pytest.approx(expected)


def task_counts(order):
    return [int((order < 16).sum()), int(((order >= 16) & (order < 20)).sum()), int((order == 20).sum())]


@pytest.mark.parametrize("seed", range(5))
def test_an_epoch_by_size_is_each_image_once(seed):
    order = mixture().epoch_order(torch.Generator().manual_seed(seed), 21)
    assert sorted(order.tolist()) == list(range(21))


@pytest.mark.parametrize("sampling", ["size", "uniform", "temperature", "stratified"])
def test_an_epoch_has_each_task_s_share_to_within_one(sampling):
    dataset = mixture(sampling=sampling)
    for length in (1, 20, 21, 100):
        order = dataset.epoch_order(torch.Generator().manual_seed(length), length)
        assert order.shape == (length,)
        for count, share in zip(task_counts(order), dataset.shares().values(), strict=True):
            assert abs(count - share * length) < 1


@pytest.mark.thorough
def test_short_epochs_have_the_shares_in_the_mean():
    dataset = mixture(sampling="temperature")
    generator = torch.Generator().manual_seed(0)
    counts = task_counts(torch.cat([dataset.epoch_order(generator, 2) for _ in range(1500)]))
    assert np.array(counts) / 3000 == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=0.03)


def test_every_stratified_round_has_each_task_once_in_its_own_order():
    order = mixture(sampling="stratified").epoch_order(torch.Generator().manual_seed(0), 300)
    tasks = torch.bucketize(order, torch.tensor([16, 20]), right=True).view(100, 3).tolist()
    assert all(sorted(round_) == [0, 1, 2] for round_ in tasks)
    assert {tuple(round_) for round_ in tasks} == set(itertools.permutations(range(3)))
    many = [index for index in order.tolist() if index < 16]
    assert sorted(many[:16]) == list(range(16))


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [0, 2])
def test_every_stratified_batch_has_each_task_once_also_after_a_resume(workers):
    def labels(epoch, skipped):
        loader, sampler = build_train_loader(
            mixture(sampling="stratified"), batch_size=3, workers=workers, seed=4, persistent_workers=False
        )
        sampler.set_epoch(epoch, skipped)
        return [batch["degradation"].labels for batch in loader]

    whole = labels(1, 0)
    assert len(whole) == 7
    assert all(sorted(batch) == ["few", "many", "some"] for batch in whole)
    assert labels(1, 4) == whole[4:]
    assert labels(0, 0) != whole


def test_two_processes_together_have_each_task_once():
    ranks = [EpochBatchSampler(mixture(sampling="stratified"), 3, 0, rank=rank, world_size=2) for rank in (0, 1)]
    for batches in zip(*ranks, strict=True):
        assert task_counts(torch.tensor([key.index for batch in batches for key in batch])) == [2, 2, 2]


def test_stratified_sampling_has_no_ratios():
    with pytest.raises(ValueError, match="ratios: sampling 'stratified' takes every task equally often"):
        mixture(sampling="stratified", ratios={"few": 2})


def test_no_image_repeats_before_its_task_is_exhausted():
    order = mixture(sampling="uniform").epoch_order(torch.Generator().manual_seed(0), 60).tolist()
    some = [index for index in order if 16 <= index < 20]
    for start in range(0, 20, 4):
        assert sorted(some[start : start + 4]) == [16, 17, 18, 19]
    many = [index for index in order if index < 16]
    assert sorted(many[:16]) == list(range(16))


def test_the_order_depends_on_the_generator_alone():
    dataset = mixture(sampling="uniform")
    orders = [dataset.epoch_order(torch.Generator().manual_seed(seed), 30).tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_labels_are_the_tasks_names_or_the_children_s_own(roots):
    dataset = MultiTaskDataset(
        {
            "noise": {"type": "DegradedImageDataset", "dataroot_gt": roots["dataroot_gt"],
                      "degradation": {"type": "GaussianNoise"}},
            "real_blur": {"type": "PairedImageDataset", **roots, "label": "blur"},
            "plugin": counted(2),
        },
    )  # fmt: skip
    assert [dataset[index]["degradation"].label for index in range(8)] == ["noise"] * 3 + ["blur"] * 3 + ["plugin"] * 2
    assert dataset.labels == ("noise", "blur", "plugin")
    assert dataset[7]["degradation"].steps is None
    assert dataset[0]["degradation"].ops == ("GaussianNoise",)


def test_shared_keys_reach_each_task_unless_it_sets_its_own(roots):
    paired = {"type": "PairedImageDataset", **roots}
    dataset = MultiTaskDataset({"a": paired, "b": {**paired, "gt_size": 6}}, gt_size=4, use_hflip=True)
    assert (dataset[0]["lq"].shape[-1], dataset[3]["lq"].shape[-1]) == (4, 6)
    assert dataset.datasets["a"].use_hflip
    assert MultiTaskDataset({"a": paired}, gt_size=4, phase="val")[0]["lq"].shape[-1] == 8


def test_a_sample_is_the_task_s_own(roots):
    dataset = MultiTaskDataset({"plugin": counted(2), "a": {"type": "PairedImageDataset", **roots}}, gt_size=4)
    assert torch.equal(dataset.sample(4, 7)["lq"], dataset.datasets["a"].sample(2, 7)["lq"])


def test_a_foreign_task_is_seeded_and_leaves_the_global_state_alone():
    dataset = mixture()
    before = torch.get_rng_state()
    assert torch.equal(dataset.sample(0, 1)["lq"], dataset.sample(0, 1)["lq"])
    assert not torch.equal(dataset.sample(0, 1)["lq"], dataset.sample(0, 2)["lq"])
    assert torch.equal(torch.get_rng_state(), before)


def test_mixtures_nest(roots):
    inner = {"type": "MultiTaskDataset", "tasks": {"x": {"type": "PairedImageDataset", **roots}, "y": counted(1)}}
    dataset = MultiTaskDataset({"inner": inner, "z": counted(1)})
    assert dataset.labels == ("x", "y", "z")
    assert [dataset[index]["degradation"].label for index in (0, 3, 4)] == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": {}}, "at least one"),
        ({"tasks": {"a": "haze"}}, r"tasks\.a: got 'haze'"),
        ({"tasks": {"a": {"dataroot_gt": "x"}}}, r"tasks\.a: .*`type` is missing"),
        ({"tasks": {"a": counted(0)}}, r"tasks\.a: the dataset is empty"),
        (
            {"tasks": {"a": {"type": "PairedImageDataset", "dataroot_gt": "nowhere", "dataroot_lq": "x"}}},
            r"tasks\.a: dataroot_gt: there is no folder nowhere",
        ),
        (
            {"tasks": {"a": counted(1)}, "sampling": "sise"},
            "sampling: got 'sise'",
        ),
        ({"tasks": {"a": counted(1)}, "temperature": 0.0}, "temperature: got 0.0"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiTaskDataset(**arguments)


def test_an_unknown_dataset_names_its_task():
    with pytest.raises(UnknownNameError, match=r"tasks\.a: no dataset is called 'PairedImageDatset'"):
        MultiTaskDataset({"a": {"type": "PairedImageDatset"}})


def test_an_index_beyond_the_end_is_an_index_error():
    with pytest.raises(IndexError):
        mixture()[21]


@pytest.mark.parametrize("ratios", [{"few": 0}, {"none": 2}])
def test_a_ratio_that_cannot_be_is_refused(ratios):
    with pytest.raises(ValueError, match=r"ratios\.\w+: got \d; expected a number above 0 for one of many, some, few"):
        mixture(ratios=ratios)
