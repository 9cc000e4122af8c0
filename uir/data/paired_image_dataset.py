"""Pairs of files: a degraded and a clean photograph of the same scene."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from uir.core.seeds import derive_seed
from uir.data.augment import apply_flips, crop_pair, draw_corner, draw_flips
from uir.data.colors import check_color, colored
from uir.data.dataset_checks import check_patch, check_phase
from uir.data.image_sources import ImageSource, LmdbImages, open_images
from uir.data.pairing import pair_names, read_meta_info
from uir.data.region_masks import RegionMasks
from uir.degradations.record import DegradationRecord
from uir.registry import DATASET_REGISTRY

logger = logging.getLogger("uir")


@DATASET_REGISTRY.register()
class PairedImageDataset(Dataset[dict[str, Any]]):
    """Pairs of image files, matched by name in two folders or listed in a `meta_info_file`; BasicSR's keys.

    A sample contains `lq` and `gt` (float32 in [0, 1], CHW), `lq_path`, `gt_path` and `degradation` (a record with
    unknown steps). In training both images get the same random crop and the same flips. Otherwise they are whole, and
    up to `scale - 1` surplus rows and columns of `gt` are cut off at the bottom and right, as in BasicSR.

    Args:
        dataroot_gt: folder of the clean images; subfolders are included. With lmdb a store `x.lmdb`.
        dataroot_lq: folder of the degraded images, with the same names (see `filename_tmpl`) in the same sub-folders;
            extensions may differ.
        gt_size: side of the training patch in pixels of `gt`, a multiple of `scale`; None for whole images.
        scale: size of `gt` divided by size of `lq`.
        phase: `train`, `val` or `test`.
        use_hflip: flip left-right with probability 1/2 (training).
        use_rot: flip up-down and transpose, each with probability 1/2 (training).
        filename_tmpl: stem of a degraded file, made from the clean one's: `{}x4`. Not used where the keys of two lmdb
            stores are equal.
        meta_info_file: a text file that lists the clean images to use, one per line; `gt.png, lq.png` names the
            degraded one too. Not used with lmdb.
        io_backend: `{type: disk}` or `{type: lmdb}`; not needed for a store `x.lmdb`.
        color: `grey` gives one channel in [0, 1] instead of RGB, `y` the luma of BT.601 (16/255 to 235/255).
        mean, std: per channel; samples are then (image - mean) / std.
        label: the name of the degradation, stored in the record.
        name: the set's name in tables and logs.
        regions: folders of masks by the name of a region, `{person: masks}`, for scores of a part of the image; white
            is inside, and a mask has the name of its clean image, in any image format. Not for training. A sample then
            contains `regions`, [1, H, W] by name.
        legacy: before the crop, `gt_size` - 3 reflected rows are added at the bottom of every training image, as in
            MaskDCPT's code; only with scale 1.

    Raises:
        ValueError: a folder is missing or empty, an image has no partner, an argument does not fit, or the first pair
            cannot be read or does not match. The other pairs are checked when they are read.
    """

    def __init__(
        self,
        dataroot_gt: str,
        dataroot_lq: str,
        gt_size: int | None = None,
        scale: int = 1,
        phase: str = "train",
        use_hflip: bool = False,
        use_rot: bool = False,
        filename_tmpl: str = "{}",
        meta_info_file: str | None = None,
        io_backend: Mapping[str, Any] | None = None,
        color: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        label: str | None = None,
        name: str = "",
        legacy: bool = False,
        regions: dict[str, Path] | None = None,
    ) -> None:
        self.training = check_phase(phase)
        self.scale = scale
        if legacy and scale != 1:
            raise ValueError(f"legacy: MaskDCPT's rows are known only for scale 1, got scale {scale}; leave it out")
        self.legacy = legacy
        self.lq_patch = check_patch(gt_size, scale)
        self.use_hflip = use_hflip
        self.use_rot = use_rot
        self.color = check_color(color)
        self.normalization = _normalization(mean, std)
        self.label = label
        self.labels = (label,) if label else ()
        self.name = name
        self.gt_images = open_images("dataroot_gt", dataroot_gt, io_backend)
        self.lq_images = self._open_lq(dataroot_lq, io_backend)
        self.pairs = self._find_pairs(filename_tmpl, meta_info_file)
        if regions and self.training:
            raise ValueError(
                "regions: scores of regions are for validation and test; leave them out of the training set"
            )
        self.masks = {key: RegionMasks(key, Path(root), self.gt_images.names) for key, root in (regions or {}).items()}
        self.sample(0, seed=0)  # so that mistakes common to all pairs show before training

    def _open_lq(self, root: str, io_backend: Mapping[str, Any] | None) -> ImageSource:
        return open_images("dataroot_lq", root, io_backend)

    def _find_pairs(self, filename_tmpl: str, meta_info_file: str | None) -> list[tuple[str, str]]:
        """Names `(gt, lq)` of the pairs, in order."""
        listed = None
        if isinstance(self.gt_images, LmdbImages):
            if filename_tmpl != "{}" and set(self.gt_images.names) == set(self.lq_images.names):
                logger.warning("filename_tmpl %s is not used: both lmdb stores have the same keys", filename_tmpl)
                filename_tmpl = "{}"
            if meta_info_file:
                logger.warning("meta_info_file %s is not used: an lmdb store lists its own images", meta_info_file)
        elif meta_info_file:
            listed = read_meta_info(meta_info_file, self.gt_images, self.lq_images)
        return pair_names(self.gt_images, self.lq_images, filename_tmpl, listed)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.sample(index, derive_seed(0, index))

    def sample(self, index: int, seed: int) -> dict[str, Any]:
        """The pair `index`, cropped and flipped according to `seed`.

        Raises:
            UnreadableImageError: one of the files is damaged.
            ValueError: the sizes do not match, or an image is smaller than the patch.
        """
        gt_name, lq_name = self.pairs[index]
        gt_path, lq_path = self.gt_images.path(gt_name), self.lq_images.path(lq_name)
        gt, lq = self.gt_images.read(gt_name), self.lq_images.read(lq_name)
        gt = self._match_sizes(gt, lq, gt_path, lq_path)
        if self.training and self.lq_patch:
            if self.legacy:
                gt, lq = (_with_reflected_rows(image, self.lq_patch) for image in (gt, lq))
            try:
                corner = draw_corner(seed, lq.shape[0], lq.shape[1], self.lq_patch)
            except ValueError as error:
                raise ValueError(f"{lq_path}: {error} (gt_size {self.lq_patch * self.scale})") from None
            gt, lq = crop_pair(gt, lq, corner, self.lq_patch, self.scale)
        if self.training:
            flips = draw_flips(seed, self.use_hflip, self.use_rot)
            gt, lq = apply_flips(gt, flips), apply_flips(lq, flips)
        regions = {key: masks.read(gt_name, gt.shape[0], gt.shape[1]) for key, masks in self.masks.items()}
        return {
            **({"regions": regions} if regions else {}),
            "lq": self._to_tensor(lq, lq_path),
            "gt": self._to_tensor(gt, gt_path),
            "lq_path": lq_path,
            "gt_path": gt_path,
            "degradation": DegradationRecord(steps=None, label=self.label),
        }

    def _match_sizes(self, gt: np.ndarray, lq: np.ndarray, gt_path: str, lq_path: str) -> np.ndarray:
        height, width = lq.shape[0] * self.scale, lq.shape[1] * self.scale
        surplus = (gt.shape[0] - height, gt.shape[1] - width)
        allowed = 0 if self.training else self.scale - 1
        if not all(0 <= extra <= allowed for extra in surplus):
            raise ValueError(
                f"the pair does not match scale {self.scale}: lq is {lq.shape[0]}x{lq.shape[1]} (height x width), so "
                f"gt should be {height}x{width} but is {gt.shape[0]}x{gt.shape[1]}; lq {lq_path}, gt {gt_path}"
            )
        return gt[:height, :width]

    def _to_tensor(self, image: np.ndarray, path: str) -> Tensor:
        tensor = colored(image, self.color, path)
        if self.normalization:
            mean, std = self.normalization
            tensor = (tensor - mean) / std
        return tensor


def _with_reflected_rows(image: np.ndarray, patch: int) -> np.ndarray:
    """The image as MaskDCPT makes it at least as large as a patch: the height that it compares is the channel count."""
    rows, columns = max(patch - 3, 0), max(patch - image.shape[1], 0)
    return np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="symmetric")


def _normalization(mean: Sequence[float] | None, std: Sequence[float] | None) -> tuple[Tensor, Tensor] | None:
    if mean is None and std is None:
        return None
    centre, spread = torch.tensor(mean or [0.0]), torch.tensor(std or [1.0])
    if not all(len(values) in (1, 3) for values in (centre, spread)) or bool((spread <= 0).any()):
        raise ValueError(f"mean {mean}, std {std}: expected one or three numbers each, those of std above 0")
    return centre.float()[:, None, None], spread.float()[:, None, None]
