"""Several degraded frames for one clean image, as one input of many channels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uir.core.images import UnreadableImageError, to_rgb
from uir.data.image_sources import FolderImages, ImageSource, open_images
from uir.data.paired_image_dataset import PairedImageDataset
from uir.registry import DATASET_REGISTRY


@DATASET_REGISTRY.register()
class MultiPairedImageDataset(PairedImageDataset):
    """Several frames for each clean image, joined along the channels: `lq` is [3·frames, h, w]; DCPT's keys.

    Args:
        dataroot_gt: folder of the clean images.
        dataroot_lq: folder with one folder for each clean image, of its name without extension, which contains the
            frames; their order is that of their names.
        multi: always true, as in published files.
        legacy: the colours of `lq` are in the order blue, green, red, as in the published class.
        gt_size, scale, phase, use_hflip, use_rot, label, name, color: see `PairedImageDataset`.
        io_backend: `{type: disk}`.

    Raises:
        ValueError: the folders do not have equally many frames, `multi` is false, or an error of `PairedImageDataset`.
    """

    def __init__(
        self,
        dataroot_gt: str,
        dataroot_lq: str,
        multi: bool = True,
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
        if not multi:
            raise ValueError("multi: false; one degraded image for each clean one is `type: PairedImageDataset`")
        if io_backend is not None and dict(io_backend) != {"type": "disk"}:
            raise ValueError(f"io_backend: got {dict(io_backend)}; frames are read from folders, {{type: disk}}")
        self.is_bgr = legacy
        super().__init__(
            dataroot_gt, dataroot_lq, gt_size=gt_size, scale=scale, phase=phase, use_hflip=use_hflip, use_rot=use_rot,
            label=label, name=name, color=color,
        )  # fmt: skip

    def _open_lq(self, root: str, io_backend: Mapping[str, Any] | None) -> ImageSource:
        folder = open_images("dataroot_lq", root, io_backend)
        if not isinstance(folder, FolderImages):
            raise ValueError(f"dataroot_lq: {root} is an lmdb store; frames are read from folders")
        return _Frames(folder, self.is_bgr)

    def _to_tensor(self, image: np.ndarray, path: str) -> Tensor:
        frames = max(image.shape[2] // 3, 1)
        tensor_of = super()._to_tensor
        return torch.cat([tensor_of(frame, path) for frame in np.split(image, frames, axis=2)])


class _Frames:
    """The folders of frames as images of 3·frames channels, by the folders' names."""

    def __init__(self, images: FolderImages, is_bgr: bool) -> None:
        self.root: Path = images.root
        self._images, self._is_bgr = images, is_bgr
        self._frames: dict[str, list[str]] = defaultdict(list)
        for name in images.names:
            self._frames[name.rpartition("/")[0]].append(name)
        self.names = sorted(self._frames)
        if "" in self._frames:
            raise ValueError(
                f"dataroot_lq: {self.root} contains {self._frames[''][0]}; expected only folders of frames, one "
                "for each clean image"
            )
        counts = {name: len(frames) for name, frames in self._frames.items()}
        fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        if counts[fewest] != counts[most]:
            raise ValueError(
                f"dataroot_lq: {self.root}/{fewest} has {counts[fewest]} frames and {most} has {counts[most]}; "
                "expected equally many"
            )

    def read(self, name: str) -> np.ndarray:
        """The frames side by side, HWC with 3·frames channels."""
        paths = [self._images.path(frame) for frame in self._frames[name]]
        frames = [to_rgb(self._images.read(frame), path) for frame, path in zip(self._frames[name], paths, strict=True)]
        for frame, path in zip(frames, paths, strict=True):
            if frame.shape != frames[0].shape or frame.dtype != frames[0].dtype:
                raise UnreadableImageError(path, f"is not of the size and depth of {paths[0]}")
        return np.concatenate([frame[..., ::-1] for frame in frames] if self._is_bgr else frames, axis=2)

    def path(self, name: str) -> str:
        """The folder."""
        return self._images.path(name)
