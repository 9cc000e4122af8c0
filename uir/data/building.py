"""Builds datasets and loaders from the dataset sections of an option file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from uir.config.options import OptionFile, dataset_dictionary
from uir.core.distributed import rank_and_world
from uir.core.seeds import derive_seed
from uir.data.batch_changes import Mixup, Progression
from uir.data.first_sample import check_first_sample
from uir.data.loading import EpochBatchSampler, build_eval_loader, build_train_loader
from uir.data.pair_pool import PairPool
from uir.data.stream import BatchStream
from uir.registry import DATASET_REGISTRY, MODEL_REGISTRY
from uir.registry.components import build, signature_of

logger = logging.getLogger("uir")

# Loader keys that do nothing in a validation or test set unless they have these values.
IDLE_IN_EVALUATION = {
    "batch_size_per_gpu": (None, 1),
    "use_shuffle": (None, False),
    "dataset_enlarge_ratio": (1,),
    "pin_memory": (False,),
    "persistent_workers": (None, False),
    "prefetch_mode": (None,),
    "num_prefetch_queue": (None,),
}


def build_dataset(loaded: OptionFile, key: str) -> Dataset[Any]:
    """The dataset of section `datasets.<key>`; the first sample of a plug-in's dataset is checked.

    Raises:
        ValueError: the arguments do not fit, a file or folder is missing, or the first sample is not what uir's methods
            learn from (see `check_first_sample`).
    """
    section = loaded.options.datasets[key]
    phase = key.split("_")[0]
    takes_opt = signature_of(DATASET_REGISTRY.get(section.type)).takes_opt
    try:
        if takes_opt:
            dataset = DATASET_REGISTRY.get(section.type)(dataset_dictionary(loaded, key))
        else:
            context = {"scale": loaded.options.scale, "phase": phase, "name": section.name or key}
            dataset = build(DATASET_REGISTRY, {"type": section.type, **section.arguments}, context)
        if MODEL_REGISTRY.origin_of(MODEL_REGISTRY.get(loaded.options.model_type)) != "plugin":
            check_first_sample(dataset, phase == "train")  # a plug-in's method may learn from other samples
    except (ValueError, OSError) as error:
        kind = OSError if isinstance(error, OSError) else ValueError  # subclasses may need other arguments than a text
        raise kind(f"datasets.{key}: {error}") from error
    return dataset


def training_stream(loaded: OptionFile, device: torch.device | str = "cpu") -> BatchStream:
    """The endless batches of `datasets.train`, finished on `device`, mixed by its pool if it has one.

    Those of every `datasets.train_<name>` come beside them.
    """
    names = [key.removeprefix("train_") for key in loaded.options.datasets if key.startswith("train_")]
    beside = {
        name: _stream(loaded, f"train_{name}", derive_seed(loaded.seed, "stream", name), device) for name in names
    }
    return _stream(loaded, "train", loaded.seed, device, beside)


def _stream(
    loaded: OptionFile,
    key: str,
    seed: int,
    device: torch.device | str,
    beside: Mapping[str, BatchStream] | None = None,
) -> BatchStream:
    loader, sampler = training_loader(loaded, key, seed)
    size = loaded.options.datasets[key].pair_pool
    if size is not None and size < sampler.batch_size:
        raise ValueError(f"datasets.{key}.pair_pool: {size} samples are fewer than a batch of {sampler.batch_size}")
    pool = PairPool(size, seed) if size is not None else None
    return BatchStream(loader, sampler, pool, device, beside, _changes(loaded, key, seed))


def _changes(loaded: OptionFile, key: str, seed: int) -> list[Progression | Mixup]:
    """What happens to the batches of a section after they are loaded."""
    section = loaded.options.datasets[key]
    changes: list[Progression | Mixup] = []
    if section.iters or section.gt_sizes or section.mini_batch_sizes:
        parts = section.iters or (), section.gt_sizes or (), section.mini_batch_sizes or ()
        batches = loaded.options.train.accumulate if loaded.options.train else 1
        try:
            changes.append(Progression(*parts, seed, loaded.options.scale, batches))
        except ValueError as error:
            raise ValueError(f"datasets.{key}: {error}") from error
    if section.mixup is not None:
        changes.append(Mixup(section.mixup.beta, section.mixup.use_identity, seed))
    return changes


def training_loader(
    loaded: OptionFile, key: str = "train", seed: int | None = None
) -> tuple[DataLoader[Any], EpochBatchSampler]:
    """The loader of `datasets.<key>` and its sampler; its seed is by default the run's."""
    section = loaded.options.datasets[key]
    if section.batch_size_per_gpu is None:
        raise ValueError(f"datasets.{key}.batch_size_per_gpu is missing; it is required for training")
    if section.prefetch_mode == "cpu":
        _say_idle(key, ["prefetch_mode cpu"], "the processes of num_worker_per_gpu load in advance")
    if section.num_worker_per_gpu == 0:
        alone = {"persistent_workers": section.persistent_workers, "num_prefetch_queue": section.num_prefetch_queue}
        _say_idle(key, [f"{name} {_shown(value)}" for name, value in alone.items() if value], "num_worker_per_gpu is 0")
    rank, world_size = rank_and_world()
    try:
        return build_train_loader(
            build_dataset(loaded, key),
            batch_size=section.batch_size_per_gpu,
            workers=section.num_worker_per_gpu,
            seed=loaded.seed if seed is None else seed,
            ratio=section.dataset_enlarge_ratio,
            shuffle=section.use_shuffle,
            pin_memory=section.pin_memory or section.prefetch_mode == "cuda",
            persistent_workers=section.persistent_workers,
            prefetch_factor=section.num_prefetch_queue,
            rank=rank,
            world_size=world_size,
        )
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith("datasets.") else f"datasets.{key}: {text}") from error


def evaluation_loaders(loaded: OptionFile) -> dict[str, DataLoader[Any]]:
    """Loaders for validation or test, by the datasets' names, in the order of their keys; batches of one image.

    A set whose name another one has before it gets its key behind the name.
    Each of several processes gets its part of the images; a model written like basicsr's validates on all of them.
    """
    loaders: dict[str, DataLoader[Any]] = {}
    whole = signature_of(MODEL_REGISTRY.get(loaded.options.model_type)).takes_opt
    for key in sorted(loaded.options.datasets):
        if key.split("_")[0] == "train":
            continue
        section = loaded.options.datasets[key]
        values = {name: getattr(section, name) for name in IDLE_IN_EVALUATION if name in section.model_fields_set}
        idle = [f"{name} {_shown(value)}" for name, value in values.items() if value not in IDLE_IN_EVALUATION[name]]
        _say_idle(key, idle, "validation and test read every image once, one by one and in order")
        dataset = build_dataset(loaded, key)
        if not hasattr(dataset, "opt"):
            dataset.opt = dataset_dictionary(loaded, key)  # type: ignore[attr-defined]  # basicsr's models read its name here
        rank, world_size = rank_and_world()
        share = None if whole or world_size == 1 else range(rank, len(dataset), world_size)  # type: ignore[arg-type]
        name = section.name or key
        if name in loaders:
            logger.warning(
                "datasets.%s: another set is called %s, too; this one is %s in the tables", key, name, f"{name}_{key}"
            )
            name = f"{name}_{key}"
        loaders[name] = build_eval_loader(dataset, section.num_worker_per_gpu, share)
    return loaders


def _say_idle(key: str, idle: list[str], why: str) -> None:
    """Name the loader keys of a dataset that do nothing, in one line."""
    if idle:
        logger.warning("datasets.%s: %s: no effect, because %s", key, ", ".join(idle), why)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
