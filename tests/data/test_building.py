"""Datasets and loaders from the sections of an option file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_options import SMALL_NET, sr_options

from uir.config.options import OptionError, OptionFile, load_options
from uir.data.building import build_dataset, evaluation_loaders, training_loader

DOUBLES = """
import torch
from torch.utils.data import Dataset
from uir.registry import DATASET_REGISTRY

if "DoublePairs" not in DATASET_REGISTRY:
    @DATASET_REGISTRY.register()
    class DoublePairs(Dataset):
        def __init__(self, opt):
            self.opt = opt

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return {"lq": torch.rand(3, 8, 8), "gt": torch.rand(3, 16, 16, dtype=torch.float64)}
"""


@pytest.fixture
def load(tmp_path: Path, pair_folders: Path) -> Callable[..., OptionFile]:
    """Loads the small file with some keys of its two datasets changed; a `type` replaces the whole dataset."""

    def load(train: dict[str, Any] | None = None, val: dict[str, Any] | None = None) -> OptionFile:
        options = sr_options(pair_folders)
        options["datasets"]["train"] |= train or {}
        options["datasets"]["val"] = {**({} if "type" in (val or {}) else options["datasets"]["val"]), **(val or {})}
        options["plugins"].append("./doubles.py")
        (tmp_path / "small_net.py").write_text(SMALL_NET)
        (tmp_path / "doubles.py").write_text(DOUBLES)
        (tmp_path / "small.yml").write_text(yaml.safe_dump(options))
        return load_options(tmp_path / "small.yml")

    return load


def test_a_wrong_first_sample_is_told_with_its_section(load: Callable[..., OptionFile]) -> None:
    with pytest.raises(ValueError, match=r"^datasets.val: DoublePairs: `gt` of a sample is float64"):
        build_dataset(load(val={"type": "DoublePairs"}), "val")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"batch_size_per_gpu": 8, "use_shuffle": True}, "val: batch_size_per_gpu 8, use_shuffle true: no effect"),
        ({"dataset_enlarge_ratio": 100}, "datasets.val: dataset_enlarge_ratio 100: no effect"),
        ({"prefetch_mode": "cuda", "pin_memory": True}, "datasets.val: pin_memory true, prefetch_mode cuda: no effect"),
        ({"persistent_workers": True, "num_prefetch_queue": 3}, "persistent_workers true, num_prefetch_queue 3: no"),
        ({"batch_size_per_gpu": 1, "use_shuffle": False, "prefetch_mode": None, "num_worker_per_gpu": 0}, ""),
    ],
)  # fmt: skip
def test_loader_keys_without_effect_in_validation_are_said(
    load: Callable[..., OptionFile], caplog: pytest.LogCaptureFixture, keys: dict[str, Any], said: str
) -> None:
    loaders = evaluation_loaders(load(val=keys))
    assert said in caplog.text
    assert caplog.text.count("no effect") == bool(said)
    assert len(loaders["val"]) == 6


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"prefetch_mode": "cpu"}, "datasets.train: prefetch_mode cpu: no effect, because the processes of"),
        ({"num_prefetch_queue": 3}, "datasets.train: num_prefetch_queue 3: no effect, because num_worker_per_gpu is 0"),
        ({"num_prefetch_queue": 3, "num_worker_per_gpu": 1}, ""),
    ],
)
def test_loader_keys_without_effect_in_training_are_said(
    load: Callable[..., OptionFile], caplog: pytest.LogCaptureFixture, keys: dict[str, Any], said: str
) -> None:
    training_loader(load(train=keys))
    assert said in caplog.text
    assert caplog.text.count("no effect") == bool(said)


def test_only_training_has_a_pool(load: Callable[..., OptionFile]) -> None:
    with pytest.raises(
        OptionError, match=r"small.yml:\d+: datasets.val.pair_pool changes batches of a training set only"
    ):
        load(val={"pair_pool": 20})
