"""Pairs that a text file lists, whatever their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uir.data.paired_image_dataset import PairedImageDataset
from uir.data.pairing import read_pair_list
from uir.registry import DATASET_REGISTRY


@DATASET_REGISTRY.register()
class PairedImageTxtlistDataset(PairedImageDataset):
    """Pairs listed in a text file, `gt/gt_1.png blur/blur_1.png` on each line, as in RealBlur (Rim et al., ECCV 2020).

    Files of DCPT and MaskDCPT write `dataroot`, `txt_lists` and `datasets_balance`; uir reads them as these keys.

    Args:
        dataroot_gt: folder where the clean names of the list start.
        dataroot_lq: folder where the degraded names start; it may be the same one.
        meta_info_file: the list. Each line has the clean image, white space, the degraded image; the rest is ignored.
            An image may be on several lines.
        gt_size, scale, phase, use_hflip, use_rot, label, name, color, legacy: see `PairedImageDataset`.

    Raises:
        ValueError: the list is missing or names an image that does not exist, or an error of `PairedImageDataset`.
    """

    def __init__(
        self,
        dataroot_gt: str,
        dataroot_lq: str,
        meta_info_file: str,
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
        self.meta_info_file = meta_info_file
        super().__init__(
            dataroot_gt, dataroot_lq, gt_size=gt_size, scale=scale, phase=phase, use_hflip=use_hflip, use_rot=use_rot,
            io_backend=io_backend, label=label, name=name, color=color, legacy=legacy,
        )  # fmt: skip

    def _find_pairs(self, filename_tmpl: str, meta_info_file: str | None) -> list[tuple[str, str]]:
        return read_pair_list(self.meta_info_file, self.gt_images, self.lq_images)
