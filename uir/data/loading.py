"""Turns a dataset into batches: seeded samples, skipping of damaged files, loaders for training and evaluation."""

from __future__ import annotations

import atexit
import multiprocessing
import signal
from collections.abc import Sequence
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from uir.core.images import UnreadableImageError
from uir.core.seeds import derive_seed
from uir.data.sampling import EpochBatchSampler, SampleKey
from uir.data.seeded import draw_sample, seeded_globals
from uir.degradations.record import DegradationRecord, RecordBatch

__all__ = [
    "EpochBatchSampler",
    "SampleKey",
    "SeededDataset",
    "build_eval_loader",
    "build_train_loader",
    "collate_samples",
    "draw_sample",
    "seeded_globals",
]

MAX_REPLACEMENTS = 10
UNSTACKED = {"skipped", "degradation"}  # keys of a sample that have a form of their own in a batch
UNREADABLE = (UnreadableImageError, OSError, cv2.error)


class SeededDataset(Dataset[dict[str, Any]]):
    """Any dataset, uir's or not, indexed by `SampleKey`: each sample depends only on its key (see `draw_sample`).

    A sample that cannot be read is replaced by the next one of the dataset; its `skipped` lists the paths that failed.
    A sample without `lq_path` gets its `gt_path`, or a name with its index, `sample_000012`.

    Args:
        dataset: the dataset. Its attributes are available here too: BasicSR's models read `opt['name']`, and those for
            video `data_info`.
        replace_unreadable: False raises the error, as an evaluation should.
    """

    def __init__(self, dataset: Dataset[Any], replace_unreadable: bool = True) -> None:
        self.dataset = dataset
        self.replace_unreadable = replace_unreadable
        self.opt: dict[str, Any] = getattr(dataset, "opt", None) or {"name": getattr(dataset, "name", "")}
        self.name = str(getattr(dataset, "name", "") or self.opt.get("name", ""))

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "dataset":  # torch's own ways to read many samples would miss the seeds
            raise AttributeError(f"SeededDataset has no '{name}'")
        return getattr(self.dataset, name)

    def __getitem__(self, key: SampleKey | int) -> dict[str, Any]:
        """The sample of `key`; for a plain index a fixed seed is derived from it.

        Raises:
            UnreadableImageError, OSError, cv2.error: the image cannot be read, nor the ten that follow it.
        """
        index, seed = key if isinstance(key, tuple) else (key, derive_seed(0, int(key)))
        skipped: list[str] = []
        while True:
            try:
                sample = draw_sample(self.dataset, index, seed)
            except UNREADABLE as error:
                skipped.append(_path_of(error, index))
                if not self.replace_unreadable or len(skipped) > min(MAX_REPLACEMENTS, len(self) - 1):
                    raise
                index = (index + 1) % len(self)
            else:
                path = sample.get("lq_path") or sample.get("gt_path") or f"sample_{index:06d}"
                return {**sample, "lq_path": path, "skipped": skipped}


def collate_samples(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch: `degradation` a `RecordBatch`, `skipped` one list, the rest stacked.

    Both are always there: a sample without a record gets an unknown one.

    Raises:
        ValueError: the samples have different keys, or images of different sizes.
    """
    keys = [key for key in samples[0] if key not in UNSTACKED]
    for sample in samples:
        differing = set(keys) ^ (set(sample) - UNSTACKED)
        if differing:
            raise ValueError(f"the samples of a batch have different keys: not all of them have {sorted(differing)}")
    for key in keys:
        _check_sizes(key, samples)
    batch: dict[str, Any] = default_collate([{key: sample[key] for key in keys} for sample in samples])
    batch["degradation"] = RecordBatch(sample.get("degradation") or DegradationRecord(steps=None) for sample in samples)
    batch["skipped"] = [path for sample in samples for path in sample.get("skipped", ())]
    return batch


def build_train_loader(
    dataset: Dataset[Any],
    *,
    batch_size: int,
    workers: int,
    seed: int,
    ratio: float = 1,
    shuffle: bool = True,
    pin_memory: bool = False,
    persistent_workers: bool | None = None,
    prefetch_factor: int | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> tuple[DataLoader[dict[str, Any]], EpochBatchSampler]:
    """A loader over one epoch, and its sampler, which needs the epoch (`set_epoch`) before each iteration.

    Batches depend on `seed`, the epoch and the dataset, but not on `workers` or on a global random state.

    Args:
        dataset: uir's, BasicSR's or any other.
        batch_size: samples per batch and process.
        workers: loading processes; 0 loads in this one.
        seed: the run's seed.
        ratio: positions in an epoch per sample of the dataset (BasicSR's `dataset_enlarge_ratio`).
        shuffle: a new random order in each epoch.
        pin_memory: for faster copies to a CUDA device; ignored if there is none.
        persistent_workers: keep the processes from epoch to epoch; default true if there are any.
        prefetch_factor: batches that each process loads ahead; torch's default is 2.
        rank, world_size: number of this process, and number of processes.

    Raises:
        ValueError: the dataset does not give a single batch.
    """
    sampler = EpochBatchSampler(dataset, batch_size, seed, ratio, shuffle, rank, world_size)
    if len(sampler) == 0:
        processes = f" x {world_size} processes" if world_size > 1 else ""
        raise ValueError(
            f"the training set gives no batch: {len(dataset)} images"  # type: ignore[arg-type]
            f" x dataset_enlarge_ratio {ratio:g} = {sampler.places} samples, fewer than batch size {batch_size}"
            f"{processes}; lower batch_size_per_gpu, raise dataset_enlarge_ratio, or check the dataset's folders"
        )
    loader: DataLoader[dict[str, Any]] = DataLoader(
        SeededDataset(dataset),
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate_samples,
        pin_memory=pin_memory and torch.cuda.is_available(),
        worker_init_fn=_prepare_worker,
        persistent_workers=workers > 0 and persistent_workers is not False,
        prefetch_factor=prefetch_factor if workers > 0 else None,
        generator=torch.Generator().manual_seed(derive_seed(seed, "loader")),  # else torch uses its global generator
    )
    return loader, sampler


def build_eval_loader(
    dataset: Dataset[Any], workers: int = 0, share: Sequence[int] | None = None
) -> DataLoader[dict[str, Any]]:
    """The samples one by one, in order, always the same. A file that cannot be read stops it, with its name.

    Args:
        share: the indices of this process, if several processes share the work; default all.
    """
    return DataLoader(
        SeededDataset(dataset, replace_unreadable=False),
        batch_size=1,
        sampler=share,
        num_workers=workers,
        collate_fn=collate_samples,
        worker_init_fn=_prepare_worker,
        generator=torch.Generator().manual_seed(0),
    )


def _prepare_worker(worker: int) -> None:
    """Use one thread for each worker, because they already share the cores."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # only the main process acts on a signal to the group: it saves first
        signal.signal(number, signal.SIG_IGN)


@atexit.register
def _end_workers() -> None:
    """Kill the workers: they ignore SIGTERM, with which multiprocessing would try to stop them, and wait forever."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def _path_of(error: Exception, index: int) -> str:
    path = getattr(error, "path", None) or getattr(error, "filename", None)
    return str(path) if path else f"sample {index}: {error}"


def _check_sizes(key: str, samples: Sequence[dict[str, Any]]) -> None:
    first = samples[0][key]
    for sample in samples[1:]:
        other = sample[key]
        if isinstance(first, Tensor) and isinstance(other, Tensor) and first.shape != other.shape:
            paths = [str(item.get(f"{key}_path", item.get("lq_path", "?"))) for item in (samples[0], sample)]
            raise ValueError(
                f"the sizes of '{key}' differ within a batch: {list(first.shape)} of {paths[0]} and "
                f"{list(other.shape)} of {paths[1]}; give the dataset a `gt_size` (whole images need batch size 1)"
            )
