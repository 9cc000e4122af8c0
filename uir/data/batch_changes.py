"""Changes to training batches after they are loaded: progressive sizes, and mixed images.

Each change is called as `change(batch, number)`, with the number of the batch from 1 on. Its random values depend only
on the seed and on this number, so that a resumed run goes on exactly.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from uir.core.seeds import numpy_generator
from uir.degradations.record import DegradationRecord, RecordBatch


class Progression:
    """Trains on few large or many small patches, part after part (Restormer, Zamir et al., CVPR 2022, Sec. 4).

    From each batch it takes random images, and one random square that is the same in all of them. After the last part
    its sizes stay.

    Args:
        iters: length of each part, in iterations.
        gt_sizes: side of the clean image's square in each part; a larger one than the patches have is theirs.
        mini_batch_sizes: images of a batch in each part; a larger number than the batch has is the batch's.
        seed: the run's seed.
        scale: size of the clean image divided by that of the degraded one.
        batches: batches in an iteration (`train.accumulate`).

    Raises:
        ValueError: the lists differ in length, or a size does not fit the scale.
    """

    def __init__(
        self,
        iters: Sequence[int],
        gt_sizes: Sequence[int],
        mini_batch_sizes: Sequence[int],
        seed: int,
        scale: int = 1,
        batches: int = 1,
    ) -> None:
        if not len(iters) == len(gt_sizes) == len(mini_batch_sizes) > 0:
            raise ValueError(
                f"iters, gt_sizes and mini_batch_sizes have {len(iters)}, {len(gt_sizes)} and {len(mini_batch_sizes)} "
                "entries; each part of the training needs one of each"
            )
        for size in gt_sizes:
            if size % scale:
                raise ValueError(f"gt_sizes: {size} is not a multiple of scale {scale}")
        self.ends = list(accumulate(iters))
        self.gt_sizes, self.mini_batch_sizes = list(gt_sizes), list(mini_batch_sizes)
        self.seed, self.scale, self.batches = seed, scale, batches

    def __call__(self, batch: Mapping[str, Any], number: int) -> Mapping[str, Any]:
        """The part of a batch for its iteration. Tensors of other sizes than `lq` and `gt` keep theirs."""
        part = min(bisect.bisect_left(self.ends, -(-number // self.batches)), len(self.ends) - 1)
        generator = numpy_generator(self.seed, "progression", number)
        count, (height, width) = len(batch["lq"]), batch["lq"].shape[-2:]
        wanted = min(self.mini_batch_sizes[part], count)
        chosen = None if wanted == count else generator.permutation(count)[:wanted].tolist()
        side = self.gt_sizes[part] // self.scale
        top = int(max(height - side, 0) * generator.random())
        left = int(max(width - side, 0) * generator.random())

        def cut(value: Any) -> Any:
            if chosen is not None and isinstance(value, Tensor):
                value = value[torch.tensor(chosen, device=value.device)]
            elif chosen is not None:
                value = value.index_select(chosen) if isinstance(value, RecordBatch) else [value[i] for i in chosen]
            for zoom in {1, self.scale} if isinstance(value, Tensor) and value.ndim >= 4 else ():
                if value.shape[-2:] == (height * zoom, width * zoom):
                    rows = slice(top * zoom, (top + side) * zoom)
                    return value[..., rows, left * zoom : (left + side) * zoom]
            return value

        return {key: value if key == "skipped" else cut(value) for key, value in batch.items()}


class Mixup:
    """Adds to each image another one of the batch (mixup, Zhang et al., ICLR 2018), as Restormer's code does.

    All images of a batch, clean and degraded, are mixed by one weight. Their records then say that nothing is known.

    Args:
        beta: the weight is drawn from Beta(beta, beta).
        use_identity: leave every second batch on average as it is.
        seed: the run's seed.
    """

    def __init__(self, beta: float, use_identity: bool, seed: int) -> None:
        self.beta, self.use_identity, self.seed = beta, use_identity, seed

    def __call__(self, batch: Mapping[str, Any], number: int) -> Mapping[str, Any]:
        """The mixed batch."""
        generator = numpy_generator(self.seed, "mixup", number)
        if self.use_identity and generator.random() < 0.5:
            return batch
        weight, count = float(generator.beta(self.beta, self.beta)), len(batch["lq"])
        order = generator.permutation(count).tolist()

        def mixed(value: Any) -> Any:
            if isinstance(value, Tensor) and value.ndim >= 4:
                return weight * value + (1 - weight) * value[torch.tensor(order, device=value.device)]
            return RecordBatch([DegradationRecord(steps=None)] * count) if isinstance(value, RecordBatch) else value

        return {key: mixed(value) for key, value in batch.items()}
