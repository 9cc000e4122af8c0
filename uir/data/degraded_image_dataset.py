"""Clean photographs, degraded as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import Dataset

from uir.components import DegradationSpec, build
from uir.data.augment import apply_flips, crop_pair, draw_corner, draw_flips
from uir.data.dataset_checks import check_patch, check_phase
from uir.data.image_sources import open_images
from uir.data.images import to_rgb, to_tensor
from uir.registry import DATASET_REGISTRY
from uir.seeds import derive_seed


@DATASET_REGISTRY.register()
class DegradedImageDataset(Dataset[dict[str, Any]]):
    """Clean images with a degradation made on the fly, after crop and flip.

    A sample holds `lq` and `gt` (float32 RGB in [0, 1], CHW), `lq_path` and `gt_path` (both the clean file) and
    `degradation`, the record of what was done. In training each epoch degrades anew; otherwise an image is whole and
    always degraded alike, whatever else the folder holds.

    Args:
        dataroot_gt: folder of the clean images; folders within it count. With lmdb a store `x.lmdb`.
        degradation: the degradation or pipeline, `{type: Haze, ...}`.
        gt_size: side of the training patch in pixels; None takes whole images.
        scale: size of `gt` over size of `lq`; what the degradation gives is checked against it.
        phase: `train`, `val` or `test`.
        use_hflip: flip left-right with probability 1/2 (training).
        use_rot: flip up-down and transpose, each with probability 1/2 (training).
        label: the name of the task, kept in the record.
        seed: another seed gives other degradations in validation and test; training has the run's seed.
        io_backend: `{type: disk}` or `{type: lmdb}`.
        name: what tables and logs call the set.

    Raises:
        ValueError: the folder is missing or empty, an argument does not fit, or the first image cannot be read or
            degraded.
    """

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
    ) -> None:
        self.training = check_phase(phase)
        check_patch(gt_size, scale)
        self.gt_size = gt_size
        self.scale = scale
        self.use_hflip = use_hflip
        self.use_rot = use_rot
        self.label = label
        self.labels = (label,) if label else ()
        self.seed = seed
        self.name = name
        self.images = open_images("dataroot_gt", dataroot_gt, io_backend)
        self.degradation = build("degradations", degradation)
        self.sample(0, seed=0)  # what is wrong with all images shows before training

    def __len__(self) -> int:
        return len(self.images.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.sample(index, derive_seed(0, index))

    def sample(self, index: int, seed: int) -> dict[str, Any]:
        """The image `index`, cropped, flipped and degraded as `seed` says (in training; otherwise it is not used).

        Raises:
            UnreadableImageError: the file is damaged.
            ValueError: the image is smaller than the patch, or what the degradation gives does not match `scale`.
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
        gt = to_tensor(to_rgb(clean[:height, :width], path))
        lq, record = self.degradation(gt, degradation_seed, label=self.label)
        if (lq.shape[1] * self.scale, lq.shape[2] * self.scale) != (height, width):
            raise ValueError(
                f"{path}: the degradation gave {lq.shape[1]}x{lq.shape[2]} (height x width) for an image of "
                f"{height}x{width}, which is not its size divided by scale {self.scale}; end the pipeline with a step "
                "that restores the size, or mend `scale`"
            )
        return {"lq": lq.contiguous(), "gt": gt, "lq_path": path, "gt_path": path, "degradation": record}
