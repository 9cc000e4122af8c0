"""Every clean image with several degradations at once: one is the input, the others are examples of what it is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch.utils.data import Dataset

from uir.core.seeds import derive_seed
from uir.data.multi_task_dataset import build_parts
from uir.data.seeded import draw_sample
from uir.degradations.record import DegradationRecord
from uir.registry import DATASET_REGISTRY
from uir.registry.components import DatasetSpec


@DATASET_REGISTRY.register()
class ScenesDataset(Dataset[dict[str, Any]]):
    """The same clean images in several datasets, each with its own degradation, as OneRestore is trained on CDD-11.

    A training sample is that of one scene, drawn at random and named as its label, plus `negatives` [N, 3, h, w]: the
    `lq` of all other scenes, with the same crop and flips. Outside of training, the scenes of an image follow each
    other, without negatives.

    Args:
        scenes: the dataset of each scene by name, `{haze: {type: PairedImageDataset, ...}, ...}`; at least two.
        gt_size, scale, phase, use_hflip, use_rot, io_backend: passed to each scene that has the argument and does not
            set it itself.
        name: the set's name in tables and logs.

    Raises:
        ValueError: there are fewer than two scenes, or they do not have the same number of images; when a sample is
            read: their clean images differ.
    """

    gives: ClassVar[tuple[str, ...]] = ("negatives",)

    def __init__(
        self,
        scenes: dict[str, DatasetSpec],
        gt_size: int | None = None,
        scale: int | None = None,
        phase: str = "train",
        use_hflip: bool | None = None,
        use_rot: bool | None = None,
        io_backend: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> None:
        if not isinstance(scenes, Mapping) or len(scenes) < 2:
            raise ValueError(f"scenes: got {scenes!r}; expected at least two `name: {{type: ...}}`")
        self.name, self.training = name, phase == "train"
        self.datasets = build_parts(
            "scenes", scenes, phase=phase, gt_size=gt_size, scale=scale, use_hflip=use_hflip, use_rot=use_rot,
            io_backend=io_backend,
        )  # fmt: skip
        sizes = {scene: len(dataset) for scene, dataset in self.datasets.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"scenes: all need the same clean images, but their numbers differ: {sizes}")
        self._images = min(sizes.values())
        self.labels = tuple(scenes)

    def __len__(self) -> int:
        return self._images if self.training else self._images * len(self.datasets)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.sample(index, derive_seed(0, index))

    def sample(self, index: int, seed: int) -> dict[str, Any]:
        """The sample `index`; the seed chooses the scene, the crop, the flips and what the degradations draw."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is outside a dataset of {len(self)}")
        index %= len(self)
        if not self.training:
            image, position = divmod(index, len(self.datasets))
            return self._of_scene(self.labels[position], image, seed)
        chosen = self.labels[derive_seed(seed, "scene") % len(self.labels)]
        samples = {scene: self._of_scene(scene, index, seed) for scene in self.labels}
        sample = samples.pop(chosen)
        for scene, other in samples.items():
            if not torch.equal(other["gt"], sample["gt"]):
                raise ValueError(
                    f"scenes.{scene}: its clean image {other['gt_path']} differs from {sample['gt_path']} of {chosen}; "
                    "all scenes need the same clean images, with equal names"
                )
        return {**sample, "negatives": torch.stack([other["lq"] for other in samples.values()])}

    def _of_scene(self, scene: str, index: int, seed: int) -> dict[str, Any]:
        item = dict(draw_sample(self.datasets[scene], index, seed))
        record = item.get("degradation") or DegradationRecord(steps=None)
        return {**item, "degradation": record.with_label(scene)}
