"""Clean photographs for learning by comparison: two crops with one degradation, or versions in a known order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from uir.core.seeds import derive_seed
from uir.data.augment import apply_flips, crop_pair, draw_corner, draw_flips
from uir.data.colors import colored
from uir.data.degraded_image_dataset import DegradedImageDataset
from uir.data.held_out_dataset import hold_out
from uir.degradations.base import apply_steps
from uir.degradations.ranking import ranking_tuple, with_another_field
from uir.degradations.record import Step
from uir.registry import DATASET_REGISTRY
from uir.registry.components import DegradationSpec


class _TwoCrops(DegradedImageDataset):
    """The common part of both datasets: an image is flipped once, and cropped twice."""

    def sample(self, index: int, seed: int) -> dict[str, Any]:
        """The image `index`, cropped, flipped and degraded by `seed`; outside of training as in the base class."""
        if not self.training:
            return super().sample(index, seed)
        name = type(self).__name__
        if self.gt_size is None:
            raise ValueError(f"{name} needs a gt_size")
        path = self.images.path(self.images.names[index])
        clean = apply_flips(self.images.read(self.images.names[index]), draw_flips(seed, self.use_hflip, self.use_rot))
        try:
            gt, key = (self._crop(clean, crop_seed, path) for crop_seed in (seed, derive_seed(seed, "key")))
            sample = self.degraded(gt, key, derive_seed(seed, "degradation"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return {**sample, "gt": gt, "lq_path": path, "gt_path": path}

    def degraded(self, gt: Tensor, key: Tensor, seed: int) -> dict[str, Any]:
        """The sample from the two crops [3, gt_size, gt_size]."""
        raise TypeError(f"{type(self).__name__} must define `degraded`")

    def _crop(self, clean: np.ndarray, seed: int, path: str) -> Tensor:
        size = int(self.gt_size or 0)
        corner = draw_corner(seed, clean.shape[0], clean.shape[1], size)
        return colored(crop_pair(clean, clean, corner, size, scale=1)[0], self.color, path)

    def _apply(self, image: Tensor, steps: Sequence[Step]) -> Tensor:
        lq = apply_steps(image, steps).contiguous()
        height, width = lq.shape[-2:]
        if (height * self.scale, width * self.scale) != tuple(image.shape[-2:]):
            raise ValueError(
                f"the degradation gave {height}x{width} for an image of {image.shape[-2]}x{image.shape[-1]}, which is "
                f"not its size divided by scale {self.scale}; correct the degradation, or `scale`"
            )
        return lq


@DATASET_REGISTRY.register()
class ContrastiveDataset(_TwoCrops):
    """Two crops of each photograph with one degradation, as DASR, CDSR and AirNet compare them.

    A training sample is that of `DegradedImageDataset`, plus `lq_key` [3, h, w]: another crop of the same (equally
    flipped) image, degraded by the same record. Only values that differ at every pixel, such as the noise itself, are
    drawn again with the same strength, because an encoder must not recognise them. A blur with a seed stays the same.
    Validation and test are those of `DegradedImageDataset`.

    Args:
        dataroot_gt, degradation, gt_size, scale, phase, use_hflip, use_rot, label, seed, io_backend, name, color: as
            in `DegradedImageDataset`.
        held_out: number of images for validation only, as in `HeldOutImageDataset`; None for none.
        split_seed: another seed chooses other images.

    Raises:
        ValueError: as in `HeldOutImageDataset`; in training also without `gt_size`.
    """

    gives: ClassVar[tuple[str, ...]] = ("lq_key",)

    def __init__(
        self,
        dataroot_gt: str,
        degradation: DegradationSpec,
        gt_size: int | None = None,
        scale: int = 1,
        phase: str = "train",
        use_hflip: bool = False,
        use_rot: bool = False,
        label: str | None = None,
        seed: int = 0,
        io_backend: Mapping[str, Any] | None = None,
        name: str = "",
        color: str | None = None,
        held_out: int | None = None,
        split_seed: int = 0,
    ) -> None:
        super().__init__(
            dataroot_gt, degradation, gt_size=gt_size, scale=scale, phase=phase, use_hflip=use_hflip, use_rot=use_rot,
            label=label, seed=seed, io_backend=io_backend, name=name, color=color,
        )  # fmt: skip
        if held_out is not None:
            hold_out(self, dataroot_gt, held_out, split_seed)

    def degraded(self, gt: Tensor, key: Tensor, seed: int) -> dict[str, Any]:
        """`lq` of the first crop, `lq_key` of the second, and the record of both."""
        record = self.degrader.degradation.record(seed, (gt.shape[-2], gt.shape[-1]), self.label)
        steps = list(record.steps or ())
        return {
            "lq": self._apply(gt, steps),
            "lq_key": self._apply(key, [with_another_field(step, "key") for step in steps]),
            "degradation": record,
        }


@DATASET_REGISTRY.register()
class RankingDataset(_TwoCrops):
    """Versions of each photograph that differ in one factor of its degradation, in a known order (DAA, ACCV 2022).

    A training sample is that of `DegradedImageDataset`, plus `renditions` [R, 3, h, w] and `orders` [R] (1, 0, -1: more
    severe than the query, equal, less severe). The versions are: the query, which is `lq`; one with the same
    degradation; one for each factor, with only this factor drawn again; and the clean one, without the factors' ops.
    All but the query are of another crop of the same (equally flipped) image, each with its own random fields, so that
    the order cannot be found by comparing pixels. R = factors + 3, six in DAA.

    Args:
        dataroot_gt, degradation, gt_size, scale, phase, use_hflip, use_rot, label, seed, io_backend, name, color: as
            in `DegradedImageDataset`.
        factors: `Op.parameter` as in the records, of ops that the degradation always applies:
            `[AnisotropicGaussianBlur.sigma_x_px, GaussianNoise.sigma_255]`.

    Raises:
        ValueError: as in `DegradedImageDataset`; in training also without `gt_size` or factors, or for a fixed factor.
    """

    gives: ClassVar[tuple[str, ...]] = ("renditions", "orders")

    def __init__(
        self,
        dataroot_gt: str,
        degradation: DegradationSpec,
        factors: Sequence[str] = (),
        gt_size: int | None = None,
        scale: int = 1,
        phase: str = "train",
        use_hflip: bool = False,
        use_rot: bool = False,
        label: str | None = None,
        seed: int = 0,
        io_backend: Mapping[str, Any] | None = None,
        name: str = "",
        color: str | None = None,
    ) -> None:
        self.factors = list(factors)
        if phase == "train" and not self.factors:
            raise ValueError("factors: expected a list of Op.parameter, such as [GaussianNoise.sigma_255], got none")
        super().__init__(
            dataroot_gt, degradation, gt_size=gt_size, scale=scale, phase=phase, use_hflip=use_hflip, use_rot=use_rot,
            label=label, seed=seed, io_backend=io_backend, name=name, color=color,
        )  # fmt: skip

    def degraded(self, gt: Tensor, key: Tensor, seed: int) -> dict[str, Any]:
        """The versions, their orders, and the query as `lq` with its record."""
        query, *others = ranking_tuple(self.degrader.degradation, seed, (gt.shape[-2], gt.shape[-1]), self.factors)
        lq = self._apply(gt, query.record.steps or ())
        rest = [self._apply(key, rendition.record.steps or ()) for rendition in others]
        return {
            "lq": lq,
            "renditions": torch.stack([lq, *rest]),
            "orders": torch.tensor([rendition.order for rendition in (query, *others)]),
            "degradation": query.record.with_label(self.label),
        }
