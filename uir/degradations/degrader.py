"""The common way for datasets (in their workers) and methods (on their device) to use a degradation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from uir.core.seeds import derive_seed
from uir.degradations.base import Degradation, DrawContext, apply_steps, check_image, step_output_size
from uir.degradations.pipeline_degradation import child_of
from uir.degradations.record import DegradationRecord, RecordBatch, Step
from uir.registry import DEGRADATION_REGISTRY


class Degrader:
    """Applies a degradation to one image or to a batch, and checks the result's size.

    Args:
        degradation: a `{type: ..., ...}` mapping, or a degradation already built.
        scale: size of an input divided by size of its result.
    """

    def __init__(self, degradation: Degradation | Mapping[str, Any], scale: int = 1) -> None:
        self.degradation = child_of("degradation", degradation)
        self.scale = scale

    def image(self, image: Tensor, seed: int, label: str | None = None) -> tuple[Tensor, DegradationRecord]:
        """Degrade one image [C, H, W] in [0, 1]; see `Degradation.__call__`.

        Raises:
            ValueError: the result's size is not the image's divided by `scale`.
        """
        degraded, record = self.degradation(image, seed, label)
        self._check_size(image, degraded)
        return degraded, record

    def batch(
        self, images: Tensor, seeds: Sequence[int], labels: Sequence[str | None] | None = None
    ) -> tuple[Tensor, RecordBatch]:
        """Degrade a batch [B, C, H, W] in [0, 1], each image with its own random values; intermediate sizes are shared.

        On the CPU the images are distributed over torch's threads, and each result equals the replay of its record, bit
        for bit. On another device, steps of the same kind are applied together, and fields are drawn there; such
        records contain `drawn_on` and give the same bits only on that kind of device.

        Args:
            images: float, any device.
            seeds: one for each image; together they determine the batch's own seed.
            labels: one for each image.

        Raises:
            ValueError: a count does not fit, or a result's size is not the image's divided by `scale`.
        """
        check_image(images, "Degrader.batch")
        names = list(labels) if labels is not None else [None] * len(images)
        if images.ndim != 4 or len(seeds) != len(images) or len(names) != len(images):
            raise ValueError(
                f"Degrader.batch: expected images [B, C, H, W] with B seeds and labels, got {list(images.shape)}, "
                f"{len(seeds)} seeds and {len(names)} labels"
            )
        height, width = images.shape[-2:]
        context = DrawContext((height, width), derive_seed("batch", *map(int, seeds)))
        records = [
            self.degradation.record(int(seed), (height, width), label, context)
            for seed, label in zip(seeds, names, strict=True)
        ]
        if images.device.type != "cpu":
            records = [_drawn_on(images.device.type, record) for record in records]
        degraded = apply_records(images, records)
        self._check_size(images, degraded)
        return degraded, RecordBatch(records)

    def _check_size(self, image: Tensor, degraded: Tensor) -> None:
        height, width = image.shape[-2:]
        got_height, got_width = degraded.shape[-2:]
        if (got_height * self.scale, got_width * self.scale) != (height, width):
            raise ValueError(
                f"the degradation gave {got_height}x{got_width} (height x width) for an image of {height}x{width}, "
                f"which is not its size divided by scale {self.scale}; end the pipeline with a step that restores the "
                "size, or correct `scale`"
            )


def apply_records(images: Tensor, records: Iterable[DegradationRecord]) -> Tensor:
    """Apply to each image of [B, C, H, W] its record; the results must have the same size.

    Raises:
        ValueError: a record is unknown or does not fit, or the results differ in size.
    """
    steps = [list(record.steps) if record.steps is not None else None for record in records]
    if len(steps) != len(images) or None in steps:
        raise ValueError(f"apply_records: expected a known record for each of {len(images)} images")
    known_steps = [own for own in steps if own is not None]
    results = _each_in_a_thread(images, known_steps) if images.device.type == "cpu" else _together(images, known_steps)
    sizes = {tuple(result.shape) for result in results}
    if len(sizes) != 1:
        raise ValueError(
            f"the images of a batch have different sizes after the pipeline, {sorted(sizes)}; end it with a step that "
            "fixes the size"
        )
    return torch.stack(results)


def _each_in_a_thread(images: Tensor, steps: list[list[Step]]) -> list[Tensor]:
    threads = min(torch.get_num_threads(), len(images))
    if threads == 1 or (torch.is_grad_enabled() and images.requires_grad):
        return [apply_steps(image, own) for image, own in zip(images, steps, strict=True)]
    return list(_pool(threads).map(_apply_alone, images, steps))


def _apply_alone(image: Tensor, steps: list[Step]) -> Tensor:
    with torch.no_grad():
        return apply_steps(image, steps)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """A pool of threads that use one core each; by default torch would start several threads for each of them."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "uir-degrade", initializer=torch.set_num_threads, initargs=(1,))
    list(pool.map(lambda _: None, range(threads * 4)))
    torch.set_num_threads(before)  # torch keeps one number for future threads
    return pool


def _together(images: Tensor, steps: list[list[Step]]) -> list[Tensor]:
    """Apply the next steps of all images in rounds: steps with equal op and sizes are applied together."""
    results = list(images)
    for turn in range(max(map(len, steps))):
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index, own in enumerate(steps):
            if turn < len(own):
                channels, height, width = results[index].shape
                sizes = channels, height, width, *step_output_size(own[turn], (height, width))
                groups.setdefault((own[turn]["op"], *sizes), []).append(index)
        for (name, *_), members in groups.items():
            op = DEGRADATION_REGISTRY.get(name)
            params = [steps[index][turn] for index in members]
            stacked = torch.stack([results[index] for index in members])
            alike = all(own == params[0] for own in params[1:]) and "seed" not in params[0]
            degraded = op.apply(stacked, params[0]) if alike else op.apply_each(stacked, params)
            for index, result in zip(members, degraded, strict=True):
                results[index] = result
    return results


def _drawn_on(device: str, record: DegradationRecord) -> DegradationRecord:
    """The record, with fields drawn on `device` if the op supports it."""
    steps = tuple(
        {**step, "drawn_on": device}
        if "seed" in step and DEGRADATION_REGISTRY.get(step["op"]).draws_on_device
        else step
        for step in record.steps or ()
    )
    return DegradationRecord(steps, record.seed, record.label)
