"""One folder of clean photographs, of which some are held out for validation."""

from __future__ import annotations

from uir.core.seeds import derive_seed
from uir.data.degraded_image_dataset import DegradedImageDataset
from uir.registry import DATASET_REGISTRY
from uir.registry.components import DegradationSpec


@DATASET_REGISTRY.register()
class HeldOutImageDataset(DegradedImageDataset):
    """Clean images with a degradation made on the fly: in validation and test those held out, in training the others.

    Which are held out depends on the images' names and `split_seed` alone: the same in every task, run and machine.

    Args:
        dataroot_gt: folder of the clean images; folders within it count.
        degradation: the degradation or pipeline, `{type: Haze, ...}`.
        held_out: how many images are held out.
        split_seed: another seed holds out others.
        gt_size, scale, phase, use_hflip, use_rot, label, seed, name: as in `DegradedImageDataset`.

    Raises:
        ValueError: as in `DegradedImageDataset`; `held_out` leaves no image on one side.
    """

    def __init__(
        self,
        dataroot_gt: str,
        degradation: DegradationSpec,
        held_out: int,
        split_seed: int = 0,
        gt_size: int | None = None,
        scale: int = 1,
        phase: str = "train",
        use_hflip: bool = False,
        use_rot: bool = False,
        label: str | None = None,
        seed: int = 0,
        name: str = "",
    ) -> None:
        super().__init__(
            dataroot_gt, degradation, gt_size=gt_size, scale=scale, phase=phase, use_hflip=use_hflip, use_rot=use_rot,
            label=label, seed=seed, name=name,
        )  # fmt: skip
        names = self.images.names
        if not 0 < held_out < len(names):
            raise ValueError(
                f"held_out: got {held_out}; expected at least 1 and fewer than the {len(names)} images of {dataroot_gt}"
            )
        drawn = set(sorted(names, key=lambda image: derive_seed(split_seed, "held_out", image))[:held_out])
        self.images.names = [image for image in names if (image in drawn) != self.training]
