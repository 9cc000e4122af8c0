"""The centre of every image of another data set."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from uir.core.seeds import derive_seed
from uir.data.seeded import draw_sample
from uir.registry import DATASET_REGISTRY
from uir.registry.components import DatasetSpec, build


@DATASET_REGISTRY.register()
class CenterCropDataset(Dataset[dict[str, Any]]):
    """A data set whose images are cut to a square at their centre, for quick validation; DCPT's `center_crop`.

    Args:
        dataset: the data set, `{type: PairedImageDataset, ...}`; its samples contain `lq` and `gt`, CHW.
        size: side of the square in pixels of `gt`, a multiple of `scale`; a shorter side of an image is not cut.
        scale: size of `gt` divided by size of `lq`.
        phase, name: passed on to the data set.

    Raises:
        ValueError: `size` is not a positive multiple of `scale`, or the data set cannot be built.
    """

    def __init__(self, dataset: DatasetSpec, size: int, scale: int = 1, phase: str = "val", name: str = "") -> None:
        if size < 1 or size % scale:
            raise ValueError(f"size: got {size}; expected a multiple of scale {scale} above 0")
        self.size, self.scale, self.name = size, scale, name
        try:
            self.dataset = build("datasets", dataset, context={"scale": scale, "phase": phase, "name": name})
        except ValueError as error:
            raise ValueError(f"dataset: {error}") from error
        self.labels = tuple(getattr(self.dataset, "labels", ()))
        self.gives = tuple(getattr(self.dataset, "gives", ()))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.sample(index, derive_seed(0, index))

    def sample(self, index: int, seed: int) -> dict[str, Any]:
        """The centre of the sample `index`."""
        item = dict(draw_sample(self.dataset, index, seed))
        side = self.size // self.scale
        top, left = (max(extent - side, 0) // 2 for extent in item["lq"].shape[-2:])
        for key, factor in (("lq", 1), ("gt", self.scale)):
            if key in item:
                item[key] = _cut(item[key], top * factor, left * factor, side * factor)
        return item


def _cut(image: Tensor, top: int, left: int, side: int) -> Tensor:
    return image[..., top : top + side, left : left + side].contiguous()
