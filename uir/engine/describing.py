"""Describes a run in its log before it starts, and measures the time of its iterations."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from torch.utils.data import DataLoader

from uir.config.options import Stage
from uir.core.distributed import rank_and_world
from uir.data.stream import BatchStream

logger = logging.getLogger("uir")
Value = TypeVar("Value")


def describe_training(stage: Stage, stream: BatchStream, validation: Mapping[str, DataLoader]) -> None:
    """Log the training data, the share of each task, and the validation sets."""
    loaded, sampler = stage.file, stream.sampler
    section = loaded.options.datasets["train"]
    total = loaded.options.train.total_iter if loaded.options.train else 0
    accumulate = loaded.options.train.accumulate if loaded.options.train else 1
    if stage.name:
        logger.info("Stage %s", stage.name)
    logger.info(
        "Training statistics:\n\tNumber of train images: %d\n\tDataset enlarge ratio: %s\n\tBatch size per gpu: %s\n"
        "\tWorld size (gpu number): %d\n\tRequire iter number per epoch: %d\n\tTotal epochs: %d; iters: %d.",
        len(sampler.dataset),  # type: ignore[arg-type]
        section.dataset_enlarge_ratio,
        section.batch_size_per_gpu,
        rank_and_world()[1],
        len(sampler),
        -(-total * accumulate // len(sampler)),
        total,
    )
    _describe_num_gpu(loaded.options.num_gpu, section.batch_size_per_gpu or 1)
    for name, further in stream.beside.items():
        logger.info("Number of images of train_%s: %d", name, len(further.sampler.dataset))  # type: ignore[arg-type]
    shares = getattr(sampler.dataset, "shares", None)
    if shares is not None:
        logger.info("Share of each task: %s", ", ".join(f"{name} {share:.1%}" for name, share in shares().items()))
    for name, loader in validation.items():
        logger.info("Number of val images/folders in %s: %d", name, len(loader.dataset))  # type: ignore[arg-type]
    if loaded.options.val is not None and loaded.options.val.protocols:
        logger.warning("val.protocols has no effect in a training, which measures val.metrics; uir test reads it")
    for key in loaded.unchecked:
        logger.info("Option %s is not checked: its plugin does not declare its keys (option_keys)", key)


def _describe_num_gpu(num_gpu: int | str, batch: int) -> None:
    """Say what becomes of `num_gpu` if it is not the number of processes, each of which uses one device."""
    processes = rank_and_world()[1]
    if not isinstance(num_gpu, int) or num_gpu < 2 or num_gpu == processes:
        return
    if processes > 1:
        logger.warning("num_gpu: %d has no effect: the launcher has started %d processes", num_gpu, processes)
        return
    logger.warning(
        "num_gpu: %d has no effect without a launcher: one process uses one device, with batches of %d; BasicSR would "
        "make batches of %d. Start it by `torchrun --nproc_per_node %d -m uir train ...`, or set batch_size_per_gpu",
        num_gpu, batch, num_gpu * batch, num_gpu,
    )  # fmt: skip


class Clock:
    """Mean seconds of an iteration and of waiting for its data, since the last call of `means`."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget the times; called after work that is not training."""
        self.began, self.waiting, self.iterations = time.perf_counter(), 0.0, 0

    def timed_fetch(self, fetch: Callable[[], Value]) -> Value:
        """Call `fetch`, and count its time as waiting."""
        began = time.perf_counter()
        value = fetch()
        self.waiting += time.perf_counter() - began
        return value

    def count(self) -> None:
        """One more iteration is done."""
        self.iterations += 1

    def means(self) -> tuple[float, float]:
        """Seconds per iteration, and the part of them spent waiting for data."""
        count = max(self.iterations, 1)
        values = (time.perf_counter() - self.began) / count, self.waiting / count
        self.restart()
        return values
