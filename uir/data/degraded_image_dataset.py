"""Clean photographs that are degraded when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from uir.core.seeds import derive_seed
from uir.data.augment import apply_flips, crop_pair, draw_corner, draw_flips
from uir.data.colors import check_color, colored
from uir.data.dataset_checks import check_patch, check_phase
from uir.data.image_sources import open_images
from uir.degradations.degrader import Degrader
from uir.degradations.protocol_noise_degradation import with_noise_of
from uir.registry import DATASET_REGISTRY
from uir.registry.components import DegradationSpec


@DATASET_REGISTRY.register()
class DegradedImageDataset(Dataset[dict[str, Any]]):
    """Clean images that are degraded during loading, after crop and flip.

    A sample contains `lq` and `gt` (float32 in [0, 1], CHW, RGB unless `color` says otherwise), `lq_path` and `gt_path`
    (both the clean file) and `degradation`, the record of the degradation. In training each epoch has new degradations.
    Otherwise an image is whole and always has the same degradation, whatever other files the folder has. If
    `degrade_on` is `device`, a training sample contains `gt` and `degradation_seed`, and `finish_batch` computes the
    rest for the whole batch at once.

    Args:
        dataroot_gt: folder of the clean images; subfolders are included. With lmdb a store `x.lmdb`.
        degradation: the degradation or pipeline, `{type: Haze, ...}`.
        target: change of `gt` after `lq` is made from it, `{type: USMSharpen}` in Real-ESRGAN; not recorded.
        source: change of the clean image before `lq` is made from it, so of both sides: other contrast or softness, as
            photographs differ; in training alone, and not recorded.
        gt_size: side of the training patch in pixels; None for whole images.
        crop_size: side to which `gt`, and `lq` with it, is cut after degrading, so that the effect of borders is
            removed (Real-ESRGAN: 400, then 256); None cuts nothing.
        degrade_on: `worker` degrades each image in the loading process; `device` degrades whole batches on the training
            device (on a CPU: in several threads).
        scale: size of `gt` divided by size of `lq`; the degraded image is checked against it.
        phase: `train`, `val` or `test`.
        use_hflip: flip left-right with probability 1/2 (training).
        use_rot: flip up-down and transpose, each with probability 1/2 (training).
        label: the name of the task, stored in the record.
        seed: another seed gives other degradations in validation and test; training uses the run's seed.
        io_backend: `{type: disk}` or `{type: lmdb}`.
        name: the set's name in tables and logs.
        color: `grey` gives one channel in [0, 1] instead of RGB, `y` the luma of BT.601 (16/255 to 235/255); the
            degradation is then that of one channel.

    Raises:
        ValueError: the folder is missing or empty, an argument does not fit, or the first image cannot be read or
            degraded.
    """

    def __init__(
        self,
        dataroot_gt: str,
        degradation: DegradationSpec,
        target: DegradationSpec | None = None,
        source: DegradationSpec | None = None,
        gt_size: int | None = None,
        crop_size: int | None = None,
        degrade_on: str = "worker",
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
        self.training = check_phase(phase)
        check_patch(gt_size, scale)
        if crop_size is not None and (gt_size is None or not 0 < crop_size <= gt_size or crop_size % scale):
            raise ValueError(
                f"crop_size: got {crop_size}; expected a multiple of scale {scale} that is at most gt_size ({gt_size})"
            )
        if degrade_on not in ("worker", "device"):
            raise ValueError(f"degrade_on: got '{degrade_on}'; expected worker or device")
        self.gt_size = gt_size
        self.crop_size = crop_size
        self.on_device = degrade_on == "device" and self.training
        self.scale = scale
        self.use_hflip = use_hflip
        self.use_rot = use_rot
        self.label = label
        self.labels = (label,) if label else ()
        self.seed = seed
        self.name = name
        self.color = check_color(color)
        self.images = open_images("dataroot_gt", dataroot_gt, io_backend)
        self.degradation_of_file = self.degrader = Degrader(degradation, scale)
        self.target = None if target is None else Degrader(target)
        self.source = None if source is None or not self.training else Degrader(source)
        first = self.sample(0, seed=0)  # so that mistakes common to all images show before training
        if self.on_device:
            self.finish_batch({"gt": first["gt"][None], "degradation_seed": torch.tensor([0])}, torch.device("cpu"))

    def __len__(self) -> int:
        return len(self.images.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.sample(index, derive_seed(0, index))

    def sample(self, index: int, seed: int) -> dict[str, Any]:
        """The image `index`, cropped, flipped and degraded according to `seed` (only training uses it).

        Raises:
            UnreadableImageError: the file is damaged.
            ValueError: the image is smaller than the patch, or the degraded size does not match `scale`.
        """
        name = self.images.names[index]
        path = self.images.path(name)
        clean = self.images.read(name)
        if self.training:
            if self.gt_size:
                try:
                    corner = draw_corner(seed, clean.shape[0], clean.shape[1], self.gt_size)
                except ValueError as error:
                    raise ValueError(f"{path}: {error} (gt_size)") from None
                clean, _ = crop_pair(clean, clean, corner, self.gt_size, scale=1)
            clean = apply_flips(clean, draw_flips(seed, self.use_hflip, self.use_rot))
            degradation_seed = derive_seed(seed, "degradation")
        else:
            degradation_seed = derive_seed(self.seed, name)
        height, width = (size - size % self.scale for size in clean.shape[:2])
        gt = _changed(self.source, colored(clean[:height, :width], self.color, path), degradation_seed, "source")
        paths = {"lq_path": path, "gt_path": path}
        if self.on_device:
            return {"gt": gt, "degradation_seed": degradation_seed, **paths}
        try:
            lq, record = self.degrader.image(gt, degradation_seed, self.label)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        lq, gt = self._cut(lq, _changed(self.target, gt, degradation_seed, "target"), degradation_seed)
        return {"lq": lq.contiguous(), "gt": gt, **paths, "degradation": record}

    def finish_batch(self, batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
        """Degrade the images of a training batch on `device`, if the samples are still clean.

        Raises:
            ValueError: the degraded size does not match `scale`.
        """
        if not self.on_device:
            return dict(batch)
        finished = {key: value for key, value in batch.items() if key not in ("degradation_seed", "degradation")}
        seeds = batch["degradation_seed"].tolist()
        images = batch["gt"].to(device)
        degraded, records = self.degrader.batch(images, seeds, [self.label] * len(seeds))
        targets = [_changed(self.target, gt, seed, "target") for gt, seed in zip(images, seeds, strict=True)]
        cut = [self._cut(lq, gt, seed) for lq, gt, seed in zip(degraded, targets, seeds, strict=True)]
        finished["lq"], finished["gt"] = (torch.stack(side) for side in zip(*cut, strict=True))
        return {**finished, "degradation": records}

    def take_noise_of(self, protocol: str | None) -> bool:
        """Make white Gaussian noise as a protocol's tests do; None makes it again as the option file says.

        Returns:
            Whether it does; it cannot where the degradation is another one, or has further steps.
        """
        noise = None if protocol is None else with_noise_of(protocol, self.degradation_of_file.degradation)
        self.degrader = self.degradation_of_file if noise is None else Degrader(noise, self.scale)
        return noise is not None or protocol is None

    def _cut(self, lq: Tensor, gt: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        if not self.training or self.crop_size is None:
            return lq, gt
        side, scale = self.crop_size // self.scale, self.scale
        top, left = draw_corner(derive_seed(seed, "crop"), lq.shape[-2], lq.shape[-1], side)
        window = lq[:, top : top + side, left : left + side]
        return window, gt[:, top * scale : (top + side) * scale, left * scale : (left + side) * scale].contiguous()


def _changed(change: Degrader | None, image: Tensor, seed: int, use: str) -> Tensor:
    return image if change is None else change.image(image, derive_seed(seed, use))[0]
