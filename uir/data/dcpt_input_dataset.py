"""DCPT's data sets that create their own input, under their published names (Hu et al., ICLR 2025).

They are thin classes over `DegradedImageDataset`, so that the published option files run. Their random values have a
seed and a record; the published classes reseed numpy for each image (noise) or draw new test masks in each run
(inpainting).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from uir.data.degraded_image_dataset import DegradedImageDataset
from uir.degradations.values import Numbers
from uir.registry import DATASET_REGISTRY

logger = logging.getLogger("uir")

SIGMA_TYPES = ("constant", "random", "choice")


@DATASET_REGISTRY.register()
class PairedImageDenoiseDataset(DegradedImageDataset):
    """Clean images and white Gaussian noise, neither clipped nor rounded, as DCPT trains and tests.

    Args:
        dataroot_gt: folder of the clean images.
        sigma_type: meaning of `sigma_range` in training: `constant` a number, `random` [low, high], `choice` a list.
        sigma_range: σ in grey levels of 255; DCPT uses a choice of 15, 25 and 50, or [1, 50] at random.
        sigma_test: σ in validation and test.
        dataroot_lq: not used, because the input is created; published files name one.
        gt_size, scale, phase, use_hflip, use_rot, label, seed, io_backend, name: see `DegradedImageDataset`.

    Raises:
        ValueError: `sigma_range` does not fit `sigma_type`, or an error of `DegradedImageDataset`.
    """

    def __init__(
        self,
        dataroot_gt: str,
        sigma_type: str = "choice",
        sigma_range: float | list[float] | None = None,
        sigma_test: float = 25.0,
        dataroot_lq: str | None = None,
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
        _note_unused(dataroot_lq, dataroot_gt)
        trained = training_sigma(sigma_type, [15, 25, 50] if sigma_range is None else sigma_range)
        sigma = trained if phase == "train" else sigma_test
        super().__init__(
            dataroot_gt,
            {"type": "GaussianNoise", "sigma": sigma, "clip": False},
            gt_size=gt_size,
            scale=scale,
            phase=phase,
            use_hflip=use_hflip,
            use_rot=use_rot,
            label=label,
            seed=seed,
            io_backend=io_backend,
            name=name,
        )


@DATASET_REGISTRY.register()
class PairedImageGaussianBlurDataset(DegradedImageDataset):
    """Clean images blurred by isotropic Gaussians.

    DCPT's code has a class of this name. Its option keys are not documented; the keys here are those of the similar
    class `PairedImageDenoiseDataset`.

    Args:
        dataroot_gt: folder of the clean images.
        sigma_type: meaning of `sigma_range` in training: `constant` a number, `random` [low, high], `choice` a list.
        sigma_range: σ in pixels.
        sigma_test: σ in validation and test.
        kernel_size: side of the kernel in pixels, odd; null: 2·⌈4σ⌉ + 1.
        dataroot_lq: not used, because the input is created; published files name one.
        gt_size, scale, phase, use_hflip, use_rot, label, seed, io_backend, name: see `DegradedImageDataset`.

    Raises:
        ValueError: `sigma_range` does not fit `sigma_type`, or an error of `DegradedImageDataset`.
    """

    def __init__(
        self,
        dataroot_gt: str,
        sigma_type: str = "random",
        sigma_range: float | list[float] | None = None,
        sigma_test: float = 2.0,
        kernel_size: int | None = None,
        dataroot_lq: str | None = None,
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
        _note_unused(dataroot_lq, dataroot_gt)
        trained = training_sigma(sigma_type, [0.2, 3.0] if sigma_range is None else sigma_range)
        sigma = trained if phase == "train" else sigma_test
        super().__init__(
            dataroot_gt,
            {"type": "IsotropicGaussianBlur", "sigma": sigma, "kernel_size": kernel_size},
            gt_size=gt_size,
            scale=scale,
            phase=phase,
            use_hflip=use_hflip,
            use_rot=use_rot,
            label=label,
            seed=seed,
            io_backend=io_backend,
            name=name,
        )


@DATASET_REGISTRY.register()
class PairedImageJPEGCARDataset(DegradedImageDataset):
    """Clean images after the JPEG codec: artefact removal as a task of DCPT.

    Args:
        dataroot_gt: folder of the clean images.
        quality: libjpeg's scale in training: a number, [low, high] or {choice: [...]}; default {choice: [10, 20, 30,
            40, 50]}.
        quality_test: the quality in validation and test.
        dataroot_lq: not used, because the input is created; published files name one.
        gt_size, scale, phase, use_hflip, use_rot, label, seed, io_backend, name: see `DegradedImageDataset`.
    """

    def __init__(
        self,
        dataroot_gt: str,
        quality: Numbers | None = None,
        quality_test: int = 20,
        dataroot_lq: str | None = None,
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
        _note_unused(dataroot_lq, dataroot_gt)
        trained = {"choice": [10, 20, 30, 40, 50]} if quality is None else quality
        super().__init__(
            dataroot_gt,
            {"type": "JPEG", "quality": trained if phase == "train" else quality_test},
            gt_size=gt_size,
            scale=scale,
            phase=phase,
            use_hflip=use_hflip,
            use_rot=use_rot,
            label=label,
            seed=seed,
            io_backend=io_backend,
            name=name,
        )


@DATASET_REGISTRY.register()
class PairedImageMosaicDataset(DegradedImageDataset):
    """Clean images after a Bayer mosaic and OpenCV's edge-aware demosaicing: demosaicing as a task of DCPT.

    Args:
        dataroot_gt: folder of the clean images.
        pattern: the colours of the four pixels at the top left; see `Mosaic`.
        demosaic: `edge_aware` as published; `none` or `bilinear`, see `Mosaic`.
        dataroot_lq: not used, because the input is created; published files name one.
        gt_size, scale, phase, use_hflip, use_rot, label, seed, io_backend, name: see `DegradedImageDataset`.
    """

    def __init__(
        self,
        dataroot_gt: str,
        pattern: str = "rggb",
        demosaic: str = "edge_aware",
        dataroot_lq: str | None = None,
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
        _note_unused(dataroot_lq, dataroot_gt)
        super().__init__(
            dataroot_gt,
            {"type": "Mosaic", "pattern": pattern, "demosaic": demosaic},
            gt_size=gt_size,
            scale=scale,
            phase=phase,
            use_hflip=use_hflip,
            use_rot=use_rot,
            label=label,
            seed=seed,
            io_backend=io_backend,
            name=name,
        )


@DATASET_REGISTRY.register()
class PairedImageInpaintingDataset(DegradedImageDataset):
    """Clean images with 5 to 10 random lines, black or white: inpainting as a task of DCPT.

    Args:
        dataroot_gt: folder of the clean images.
        lines, width, fill: see `InpaintingLines`; the defaults are DCPT's. `fill` by default is black or white.
        dataroot_lq: not used, because the input is created; published files name one.
        gt_size, scale, phase, use_hflip, use_rot, label, seed, io_backend, name: see `DegradedImageDataset`.
    """

    def __init__(
        self,
        dataroot_gt: str,
        lines: Numbers = (5, 10),
        width: Numbers = (5, 10),
        fill: Numbers | None = None,
        dataroot_lq: str | None = None,
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
        _note_unused(dataroot_lq, dataroot_gt)
        super().__init__(
            dataroot_gt,
            {"type": "InpaintingLines", "lines": lines, "width": width, "fill": fill},
            gt_size=gt_size,
            scale=scale,
            phase=phase,
            use_hflip=use_hflip,
            use_rot=use_rot,
            label=label,
            seed=seed,
            io_backend=io_backend,
            name=name,
        )


def training_sigma(sigma_type: str, sigma_range: float | list[float]) -> Numbers:
    """DCPT's two keys as the single value that `GaussianNoise` takes.

    Raises:
        ValueError: the type is unknown, or the range has another form.
    """
    if sigma_type not in SIGMA_TYPES:
        raise ValueError(f"sigma_type: got {sigma_type!r}; expected one of {', '.join(SIGMA_TYPES)}")
    listed = list(sigma_range) if isinstance(sigma_range, (list, tuple)) else [sigma_range]
    counts = {"constant": len(listed) == 1, "random": len(listed) == 2, "choice": len(listed) >= 1}
    if not counts[sigma_type]:
        expected = {"constant": "a number", "random": "[low, high]", "choice": "a list of numbers"}[sigma_type]
        raise ValueError(f"sigma_range: with sigma_type {sigma_type} expected {expected}, got {sigma_range!r}")
    if sigma_type == "choice":
        return {"choice": listed}
    return listed if sigma_type == "random" else listed[0]


def _note_unused(dataroot_lq: str | None, dataroot_gt: str) -> None:
    if dataroot_lq is not None and dataroot_lq.lower() != "none" and dataroot_lq != dataroot_gt:
        logger.warning("dataroot_lq %s is not used: the input is created from dataroot_gt", dataroot_lq)
