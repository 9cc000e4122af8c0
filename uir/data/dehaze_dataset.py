"""Several hazy or rainy images for each clean one, named as in RESIDE, Outdoor-Rain and DCPT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from uir.data.image_sources import ImageSource, LmdbImages, without_extension
from uir.data.listings import Names
from uir.data.paired_image_dataset import PairedImageDataset
from uir.registry import DATASET_REGISTRY


@DATASET_REGISTRY.register()
class PairedImageDehazeDataset(PairedImageDataset):
    """Every hazy image with its clean one: `0001_0.8_0.2.jpg` belongs to `0001.jpg` (RESIDE, Li et al., TIP 2019).

    Args:
        dataroot_gt: folder of the clean images; those without a hazy image are not used.
        dataroot_lq: folder of the hazy images; the name up to the first `_` is the clean one's.
        suffix: ending of the clean images, default `.jpg`; SOTS outdoor has `.png`. Not used with an lmdb store.
        gt_size, scale, phase, use_hflip, use_rot, io_backend, label, name, color, legacy: see `PairedImageDataset`.

    Raises:
        ValueError: a hazy image has no clean one, or an error of `PairedImageDataset`.
    """

    parts: ClassVar[int] = 1
    """How many parts of a hazy name, divided by `_`, are the clean one's."""
    clean_suffix: ClassVar[str] = ".jpg"
    """The ending of the clean images where the file gives none."""

    def __init__(
        self,
        dataroot_gt: str,
        dataroot_lq: str,
        suffix: str | None = None,
        gt_size: int | None = None,
        scale: int = 1,
        phase: str = "train",
        use_hflip: bool = False,
        use_rot: bool = False,
        io_backend: Mapping[str, Any] | None = None,
        label: str | None = None,
        name: str = "",
        color: str | None = None,
        legacy: bool = False,
    ) -> None:
        self.suffix = self.clean_suffix if suffix is None else suffix
        super().__init__(
            dataroot_gt, dataroot_lq, gt_size=gt_size, scale=scale, phase=phase, use_hflip=use_hflip, use_rot=use_rot,
            io_backend=io_backend, label=label, name=name, color=color, legacy=legacy,
        )  # fmt: skip

    def _find_pairs(self, filename_tmpl: str, meta_info_file: str | None) -> list[tuple[str, str]]:
        suffix = "" if isinstance(self.gt_images, LmdbImages) else self.suffix
        return clean_of_hazy(self.gt_images, self.lq_images, suffix, self.parts)


@DATASET_REGISTRY.register()
class PairedImageOutdoorRainDataset(PairedImageDehazeDataset):
    """Every rainy image with its clean one: `im_0001_s80_a04.png` belongs to `im_0001.png` (Li et al., CVPR 2019).

    Args:
        dataroot_gt: folder of the clean images; those without a rainy image are not used.
        dataroot_lq: folder of the rainy images; the name up to the second `_` is the clean one's.
        suffix: ending of the clean images, default `.png`. Not used with an lmdb store.
        gt_size, scale, phase, use_hflip, use_rot, io_backend, label, name, color, legacy: see `PairedImageDataset`.

    Raises:
        ValueError: a rainy image has no clean one, or an error of `PairedImageDataset`.
    """

    parts: ClassVar[int] = 2
    clean_suffix: ClassVar[str] = ".png"


def clean_of_hazy(gt: ImageSource, lq: ImageSource, suffix: str, parts: int = 1) -> list[tuple[str, str]]:
    """Pairs `(clean name, hazy name)` in the order of the hazy images.

    The clean image is in the same sub-folder, or at the top.

    Args:
        gt, lq: the clean and the hazy images.
        suffix: ending of the clean images.
        parts: how many parts of a hazy name, divided by `_`, are the clean one's.

    Raises:
        ValueError: hazy images without a clean one; the message counts them and names the first.
    """
    clean_names = Names(gt.names)
    pairs, missing = [], []
    for name in lq.names:
        folder, slash, file = name.rpartition("/")
        clean = "_".join((without_extension(file) if suffix else file).split("_")[:parts]) + suffix
        clean_name = clean_names.find(f"{folder}{slash}{clean}") or clean_names.find(clean)
        if clean_name is None:
            missing.append((name, clean))
        else:
            pairs.append((clean_name, name))
    if missing:
        name, clean = missing[0]
        raise ValueError(
            f"dataroot_gt: {gt.root} lacks the clean image of {len(missing)} of the images of dataroot_lq {lq.root}; "
            f"{name} needs {clean} (`suffix` is '{suffix}')"
        )
    return pairs
