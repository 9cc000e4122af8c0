"""Runs a predictor on whole images or tile by tile, with the memory at hand.

A tile that does not fit into the memory is divided and repeated; the tiles that follow are smaller from the start.
"""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from uir.core.environment import NO_MEMORY, problem_of_machine
from uir.core.memory import free_bytes, peak_bytes
from uir.core.precision import Precision, autocast
from uir.inference.place import Place
from uir.inference.pooled_statistics import PooledStatistics, mosaic
from uir.inference.strategies import Strategy, wrapped
from uir.inference.tiling import OVERLAP, tiled_rows
from uir.layers.padding import crop, pad_to_multiple

if TYPE_CHECKING:
    from uir.inference.predictor import Predictor, Whole

logger = logging.getLogger("uir")

RunPart = Callable[[Tensor, slice, slice], Tensor]
SMALLEST = 32
"""Side in pixels below which a tile is not divided further."""
UNKNOWN = 512
"""Side of a tile where the machine does not say how much memory is free."""
LARGEST = 1024
"""Side of the largest automatic tile: a row of them, restored, is in the computer's memory, however much a GPU has."""
MOST_ON_CPU = 400_000_000
"""Bytes that the networks may take on a CPU if the tile is automatic. Larger tiles are no faster there, and the rest of
2 GB is for the program and a photograph of 100 megapixels."""
_PROBE = 128  # side of the square whose memory is measured
_SHARE = 0.4  # of the free memory: libraries take more inside, and the image and the result need some too


@dataclass
class Memory:
    """What was learned about the memory while restoring.

    Attributes:
        limit: side of the largest tile that fits, once a larger one did not.
        bytes_per_pixel: what the networks need, by the predictor's identity.
    """

    limit: int | None = None
    bytes_per_pixel: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """The settings for running predictors.

    Attributes:
        device: the device to compute on.
        precision: fp32, or the type to autocast to.
        tile: side of the tiles in pixels; None restores whole images; "auto" too, where they fit into half of the free
            memory (on a CPU at most `MOST_ON_CPU` bytes), and else in tiles that do.
        overlap: smallest number of pixels that neighbouring tiles share.
        guard: gives the context in which no gradients are stored.
        memory: what was learned about it.
    """

    device: torch.device
    precision: Precision = "fp32"
    tile: int | Literal["auto"] | None = None
    overlap: int = 0
    guard: Callable[[], AbstractContextManager[Any]] = torch.no_grad
    memory: Memory = field(default_factory=Memory, compare=False)

    def rows(
        self,
        predictor: Predictor,
        whole: Whole,
        strategies: Sequence[Strategy] = (),
        conditions: dict[str, Any] | None = None,
    ) -> Iterator[Tensor]:
        """Restore whole images, in bands of rows [B, 3, rows, w·scale], on the CPU, float32, not clipped.

        Args:
            predictor: its networks are in evaluation mode, on the device.
            whole: the images.
            strategies: those that are on.
            conditions: receives the predictor's conditions, once the first rows are there.
        """

        def restore(whole: Whole) -> Iterator[Tensor]:
            values = self.conditions(predictor, whole)
            if conditions is not None:
                conditions.update(values)
            return self._plain_rows(predictor, whole, partial(self._run, predictor, values, strategies))

        return wrapped(restore, strategies)(whole)

    def conditions(self, predictor: Predictor, whole: Whole) -> dict[str, Any]:
        """A predictor's conditions for whole images."""
        with self.guard(), autocast(self.device, self.precision):
            return predictor.conditions(whole)

    def _plain_rows(self, predictor: Predictor, whole: Whole, run: RunPart) -> Iterator[Tensor]:
        tile = self._tile(predictor, whole, run)
        if tile is None:
            rows, columns = slice(0, whole.size[0]), slice(0, whole.size[1])
            pixels = whole.read(rows, columns)
            restored = self._tried(run, pixels, rows, columns, predictor)
            if restored is not None:
                yield restored
                return
            tile = self.memory.limit
            assert tile is not None  # `_tried` has set it
        tile = min(tile, self.memory.limit or tile)
        multiple = predictor.grid
        if max(whole.size) > tile:
            run = self._with_statistics(predictor, whole, run, tile, multiple)
        yield from tiled_rows(
            whole.read, partial(self._run_or_divide, predictor, run), whole.size, tile=tile,
            overlap=self._overlap(tile), multiple=multiple, scale=predictor.scale,
        )  # fmt: skip

    def _overlap(self, tile: int) -> int:
        chosen = self.overlap if isinstance(self.tile, int) else self.overlap or OVERLAP
        return min(chosen, tile // 2)

    def _with_statistics(self, predictor: Predictor, whole: Whole, run: RunPart, tile: int, multiple: int) -> RunPart:
        """The same run, with poolings that give the same values for every tile."""
        statistics = PooledStatistics(predictor.network)
        if not statistics:
            return run
        side: int | None = tile
        while side is not None:
            picture = mosaic(whole.read, whole.size, side, multiple)
            rows, columns = slice(0, picture.shape[-2]), slice(0, picture.shape[-1])
            with statistics.recorded():
                done = self._tried(run, picture, rows, columns, predictor)
            side = self.memory.limit if done is None else None

        def run_with_them(pixels: Tensor, rows: slice, columns: slice) -> Tensor:
            with statistics.used():
                return run(pixels, rows, columns)

        return run_with_them

    def _run_or_divide(self, predictor: Predictor, run: RunPart, pixels: Tensor, rows: slice, columns: slice) -> Tensor:
        """Restore a tile; if it does not fit into the memory, divide it into smaller ones and restore them."""
        height, width = pixels.shape[-2:]
        limit = self.memory.limit
        if limit is None or max(height, width) <= limit:
            restored = self._tried(run, pixels, rows, columns, predictor)
            if restored is not None:
                return restored
        side = self.memory.limit
        assert side is not None  # `_tried` has set it

        def run_part(part: Tensor, inner: slice, across: slice) -> Tensor:
            place = [slice(a.start + b.start, a.start + b.stop) for a, b in ((rows, inner), (columns, across))]
            return self._run_or_divide(predictor, run, part, *place)

        bands = tiled_rows(
            lambda r, c: pixels[..., r, c], run_part, (height, width), tile=side, overlap=self._overlap(side),
            multiple=predictor.grid, scale=predictor.scale,
        )  # fmt: skip
        return torch.cat(list(bands), -2)

    def _tried(self, run: RunPart, pixels: Tensor, rows: slice, columns: slice, predictor: Predictor) -> Tensor | None:
        """What a run gives; None if the memory is not enough, and then the limit is half as large."""
        try:
            return run(pixels, rows, columns)
        except (RuntimeError, MemoryError) as error:
            problem = problem_of_machine(error) or ""
            multiple = predictor.grid
            side = max(pixels.shape[-2:]) // 2 // multiple * multiple
            if not problem.startswith(NO_MEMORY) or side < max(SMALLEST, multiple):
                raise
        self.memory.limit = side
        logger.warning("%s for %d×%d pixels at once; tiles of %d from now on", problem, *pixels.shape[-2:], side)
        gc.collect()  # the frames of the error held tensors
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _tile(self, predictor: Predictor, whole: Whole, run: RunPart) -> int | None:
        """The side of the tiles for an image; None to restore it whole."""
        if self.tile != "auto":
            limit = self.memory.limit
            return self.tile if self.tile is not None or limit is None or max(whole.size) <= limit else limit
        multiple = predictor.grid
        free = free_bytes(self.device)
        if free is None:
            side = UNKNOWN
        else:
            needed = self._bytes_per_pixel(predictor, whole, run, multiple)
            if needed is None:
                return self.memory.limit
            share = _SHARE * free
            budget = (min(share, MOST_ON_CPU) if self.device.type == "cpu" else share) / needed
            if math.prod(whole.size) <= budget and (self.memory.limit is None or max(whole.size) <= self.memory.limit):
                return None
            side = min(int(math.sqrt(budget)), LARGEST)
        return max(side // multiple, -(-SMALLEST // multiple)) * multiple

    def _bytes_per_pixel(self, predictor: Predictor, whole: Whole, run: RunPart, multiple: int) -> float | None:
        """What the networks need, measured on a part of the image; None if the memory is not enough even for that."""
        known = self.memory.bytes_per_pixel
        if id(predictor) not in known:
            side = self.memory.limit or -(-_PROBE // multiple) * multiple
            rows, columns = (slice(0, min(side, length)) for length in whole.size)
            pixels = whole.read(rows, columns)
            fits = []
            peak = peak_bytes(lambda: fits.append(self._tried(run, pixels, rows, columns, predictor) is not None))
            if not fits[0]:
                return None
            padded = math.prod(-(-length // multiple) * multiple for length in pixels.shape[-2:])
            known[id(predictor)] = max(peak, 1) / padded
        return known[id(predictor)]

    def _run(
        self,
        predictor: Predictor,
        conditions: Mapping[str, Any],
        strategies: Sequence[Strategy],
        pixels: Tensor,
        rows: slice,
        columns: slice,
    ) -> Tensor:
        lq = pixels.to(self.device, torch.float32)
        padded = pad_to_multiple(lq, predictor.multiple)
        place = Place(rows, columns, (padded.shape[-2], padded.shape[-1]))

        def run(lq: Tensor, place: Place) -> Tensor:
            return predictor.run(lq, conditions, place)

        for strategy in strategies:
            run = partial(strategy.run, run)
        with self.guard(), autocast(self.device, self.precision):
            restored = run(padded, place)
        return crop(restored, lq.shape[-2] * predictor.scale, lq.shape[-1] * predictor.scale).float().cpu()
