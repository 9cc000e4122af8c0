"""One folder of clean photographs; some of them are used only for validation."""

from __future__ import annotations

from uir.core.seeds import derive_seed
from uir.data.degraded_image_dataset import DegradedImageDataset
from uir.registry import DATASET_REGISTRY
from uir.registry.components import DegradationSpec


def hold_out(dataset: DegradedImageDataset, folder: str, held_out: int, split_seed: int = 0) -> None:
    """Leave a data set the images of its phase: validation and test the held-out ones, training the others.

    The choice depends only on the images' names and `split_seed`.

    Args:
        dataset: a data set of all images.
        folder: their folder, for the message.
        held_out: number of images for validation only.
        split_seed: another seed chooses other images.

    Raises:
        ValueError: `held_out` leaves no image for one of the two uses.
    """
    names = dataset.images.names
    if not 0 < held_out < len(names):
        raise ValueError(
            f"held_out: got {held_out}; expected at least 1 and fewer than the {len(names)} images of {folder}"
        )
    chosen = set(sorted(names, key=lambda image: derive_seed(split_seed, "held_out", image))[:held_out])
    dataset.images.names = [image for image in names if (image in chosen) != dataset.training]


@DATASET_REGISTRY.register()
class HeldOutImageDataset(DegradedImageDataset):
    """Clean images that are degraded during loading: validation and test use the held-out images, training the others.

    The choice depends only on the images' names and `split_seed`: it is the same in every task, run and machine.

    Args:
        dataroot_gt: folder of the clean images; subfolders are included.
        degradation: the degradation or pipeline, `{type: Haze, ...}`.
        held_out: number of images for validation only.
        split_seed: another seed chooses other images.
        target, source, gt_size, crop_size, scale, phase, use_hflip, use_rot, label, seed, name, color: as in
            `DegradedImageDataset`.

    Raises:
        ValueError: as in `DegradedImageDataset`, or `held_out` leaves no image for one of the two uses.
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
        color: str | None = None,
        crop_size: int | None = None,
        target: DegradationSpec | None = None,
        source: DegradationSpec | None = None,
    ) -> None:
        super().__init__(
            dataroot_gt, degradation, gt_size=gt_size, crop_size=crop_size, scale=scale, phase=phase,
            use_hflip=use_hflip, use_rot=use_rot, label=label, seed=seed, name=name, color=color,
            target=target, source=source,
        )  # fmt: skip
        hold_out(self, dataroot_gt, held_out, split_seed)
