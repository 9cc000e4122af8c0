"""DCPT's data sets that create their own input, under their published names and keys (Hu et al., ICLR 2025).

They are thin classes over `DegradedImageDataset`, so that the published option files run. Their random values have a
seed and a record; the published classes reseed numpy for each image (noise) or draw new test masks in each run
(inpainting).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from uir.data.dataset_checks import check_phase
from uir.data.degraded_image_dataset import DegradedImageDataset
from uir.degradations.values import Numbers
from uir.registry import DATASET_REGISTRY

logger = logging.getLogger("uir")

DRAWS = {"constant": "a number", "random": "[low, high]", "choice": "a list of numbers"}


@DATASET_REGISTRY.register()
class PairedImageDenoiseDataset(DegradedImageDataset):
    """Clean images and white Gaussian noise, not rounded, as DCPT trains and tests.

    Args:
        dataroot_gt: folder of the clean images.
        sigma_type: meaning of `sigma_range` in every phase: `constant` a number, `random` [low, high], `choice` a list.
        sigma_range: σ in grey levels of 255; default 15, 25 and 50, DCPT's choice in training.
        sigma_test: σ in validation and test instead of `sigma_range`, as in Restormer's files.
        clip: clip the result to [0, 1], as MaskDCPT does and DCPT does not.
        dataroot_lq: not used, because the input is created; published files name one.
        gt_size, scale, phase, use_hflip, use_rot, label, seed, io_backend, name, color: see `DegradedImageDataset`.

    Raises:
        ValueError: `sigma_range` does not fit `sigma_type`, or an error of `DegradedImageDataset`.
    """

    def __init__(
        self,
        dataroot_gt: str,
        sigma_type: str = "choice",
        sigma_range: float | list[float] | None = None,
        sigma_test: float | None = None,
        clip: bool = False,
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
        color: str | None = None,
    ) -> None:
        note_unused(dataroot_lq, dataroot_gt)
        drawn = drawn_numbers("sigma", sigma_type, [15, 25, 50] if sigma_range is None else sigma_range)
        if sigma_test is not None:
            in_training = check_phase(phase)
            unused = f"sigma_test {sigma_test}" if in_training else f"sigma_range {sigma_range}"
            if in_training or sigma_range is not None:
                logger.warning("%s of the phase %s is not used: sigma_test is for validation and test", unused, phase)
        sigma = drawn if sigma_test is None or phase == "train" else sigma_test
        super().__init__(
            dataroot_gt, {"type": "GaussianNoise", "sigma": sigma, "clip": clip}, gt_size=gt_size, scale=scale,
            phase=phase, use_hflip=use_hflip, use_rot=use_rot, label=label, seed=seed, io_backend=io_backend, name=name,
            color=color,
        )  # fmt: skip


@DATASET_REGISTRY.register()
class PairedImageJPEGCARDataset(DegradedImageDataset):
    """Clean images after the JPEG codec: artefact removal as a task of DCPT.

    Args:
        dataroot_gt: folder of the clean images.
        q_type: meaning of `q_range` in every phase: `constant` a number, `random` [low, high], `choice` a list. The
            published class crashes for `random`; here both ends are possible.
        q_range: libjpeg's quality, whole numbers; default 10, 20, 30, 40 and 50.
        dataroot_lq: not used, because the input is created; published files name one.
        gt_size, scale, phase, use_hflip, use_rot, label, seed, io_backend, name, color: see `DegradedImageDataset`.

    Raises:
        ValueError: `q_range` does not fit `q_type`, or an error of `DegradedImageDataset`.
    """

    def __init__(
        self,
        dataroot_gt: str,
        q_type: str = "choice",
        q_range: float | list[float] | None = None,
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
        color: str | None = None,
    ) -> None:
        note_unused(dataroot_lq, dataroot_gt)
        quality = drawn_numbers("q", q_type, [10, 20, 30, 40, 50] if q_range is None else q_range)
        super().__init__(
            dataroot_gt, {"type": "JPEG", "quality": quality}, gt_size=gt_size, scale=scale, phase=phase,
            use_hflip=use_hflip, use_rot=use_rot, label=label, seed=seed, io_backend=io_backend, name=name, color=color,
        )  # fmt: skip


@DATASET_REGISTRY.register()
class PairedImageMosaicDataset(DegradedImageDataset):
    """Clean images after a Bayer mosaic and OpenCV's edge-aware demosaicing: demosaicing as a task of DCPT.

    Args:
        dataroot_gt: folder of the clean images.
        pattern: the colours of the four pixels at the top left; see `Mosaic`.
        demosaic: `edge_aware` as published; `none` or `bilinear`, see `Mosaic`.
        legacy: red and blue of the input are exchanged, as in the published class.
        dataroot_lq: not used, because the input is created; published files name one.
        gt_size, scale, phase, use_hflip, use_rot, label, seed, io_backend, name: see `DegradedImageDataset`.
    """

    def __init__(
        self,
        dataroot_gt: str,
        pattern: str = "rggb",
        demosaic: str = "edge_aware",
        legacy: bool = False,
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
        note_unused(dataroot_lq, dataroot_gt)
        super().__init__(
            dataroot_gt, {"type": "Mosaic", "pattern": pattern, "demosaic": demosaic, "legacy": legacy},
            gt_size=gt_size, scale=scale, phase=phase, use_hflip=use_hflip, use_rot=use_rot, label=label, seed=seed,
            io_backend=io_backend, name=name,
        )  # fmt: skip


@DATASET_REGISTRY.register()
class PairedImageInpaintingDataset(DegradedImageDataset):
    """Clean images with 5 to 10 random lines, black or white: inpainting as a task of DCPT.

    Args:
        dataroot_gt: folder of the clean images.
        lines, width, fill: see `InpaintingLines`; the defaults are DCPT's. `fill` by default is black or white.
        dataroot_lq: not used, because the input is created; published files name one.
        gt_size, scale, phase, use_hflip, use_rot, label, seed, io_backend, name, color: see `DegradedImageDataset`.
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
        color: str | None = None,
    ) -> None:
        note_unused(dataroot_lq, dataroot_gt)
        super().__init__(
            dataroot_gt, {"type": "InpaintingLines", "lines": lines, "width": width, "fill": fill}, gt_size=gt_size,
            scale=scale, phase=phase, use_hflip=use_hflip, use_rot=use_rot, label=label, seed=seed,
            io_backend=io_backend, name=name, color=color,
        )  # fmt: skip


def drawn_numbers(prefix: str, draw: str, given: float | list[float]) -> Numbers:
    """DCPT's two keys, `sigma_type` and `sigma_range`, as the one value that a degradation takes.

    Args:
        prefix: of both keys, for messages.
        draw: the type.
        given: the range.

    Raises:
        ValueError: the type is unknown, or the range has another form.
    """
    if draw not in DRAWS:
        raise ValueError(f"{prefix}_type: got {draw!r}; expected one of {', '.join(DRAWS)}")
    listed = list(given) if isinstance(given, (list, tuple)) else [given]
    counts = {"constant": len(listed) == 1, "random": len(listed) == 2, "choice": len(listed) >= 1}
    if not counts[draw]:
        raise ValueError(f"{prefix}_range: with {prefix}_type {draw} expected {DRAWS[draw]}, got {given!r}")
    if draw == "choice":
        return {"choice": listed}
    return listed if draw == "random" else listed[0]


def note_unused(dataroot_lq: str | None, dataroot_gt: str) -> None:
    """Say that a folder of inputs is not read; published files repeat the clean folder there, or write `none`."""
    if dataroot_lq is not None and dataroot_lq.lower() != "none" and dataroot_lq != dataroot_gt:
        logger.warning("dataroot_lq %s is not used: the input is created from dataroot_gt", dataroot_lq)
