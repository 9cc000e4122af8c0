"""The data set of blurred images of DCPT and MaskDCPT, under its published name and keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uir.data.dcpt_input_dataset import note_unused
from uir.data.degraded_image_dataset import DegradedImageDataset
from uir.degradations.preset import one_of
from uir.registry import DATASET_REGISTRY

SIDES = (7, 21)
# Real-ESRGAN's names of kernels: the op, its `isotropic_probability`, and the key with the range of its shape.
KERNELS = {
    "iso": ("IsotropicGaussianBlur", None, None),
    "aniso": ("AnisotropicGaussianBlur", None, None),
    "generalized_iso": ("GeneralizedGaussianBlur", 1.0, "betag_range"),
    "generalized_aniso": ("GeneralizedGaussianBlur", 0.0, "betag_range"),
    "plateau_iso": ("PlateauBlur", 1.0, "betap_range"),
    "plateau_aniso": ("PlateauBlur", 0.0, "betap_range"),
}


@DATASET_REGISTRY.register()
class PairedImageGaussianBlurDataset(DegradedImageDataset):
    """Clean images after a blur with one of Real-ESRGAN's kernels, of 7 to 21 pixels, in every phase.

    The result is clipped to [0, 1], which the published class does not do; only a sinc goes beyond.

    Args:
        dataroot_gt: folder of the clean images.
        kernel_list: kinds of kernels, out of iso, aniso, generalized_iso, generalized_aniso, plateau_iso and
            plateau_aniso.
        kernel_prob: weight of each kind.
        sinc_prob: probability of a sinc instead, which rings (see `SincFilter`).
        blur_sigma: [low, high] of σ in pixels, for both axes.
        betag_range: [low, high] of the shape of the generalised kernels.
        betap_range: [low, high] of the shape of the plateaus.
        dataroot_lq: not used, because the input is created; published files name one.
        gt_size, scale, phase, use_hflip, use_rot, label, seed, io_backend, name, color: see `DegradedImageDataset`.

    Raises:
        ValueError: a kind is unknown, there is not one weight for each, or an error of `DegradedImageDataset`.
    """

    def __init__(
        self,
        dataroot_gt: str,
        kernel_list: Sequence[str] = tuple(KERNELS),
        kernel_prob: Sequence[float] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03),
        sinc_prob: float = 0.1,
        blur_sigma: Sequence[float] = (0.2, 3.0),
        betag_range: Sequence[float] = (0.5, 4.0),
        betap_range: Sequence[float] = (1.0, 2.0),
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
        unknown = [kind for kind in kernel_list if kind not in KERNELS]
        if unknown or not kernel_list:
            raise ValueError(f"kernel_list: got {list(kernel_list)}; expected some of {', '.join(KERNELS)}")
        if len(kernel_prob) != len(kernel_list):
            raise ValueError(f"kernel_prob: got {list(kernel_prob)}; expected {len(kernel_list)}, one for each kernel")
        if not 0 <= sinc_prob <= 1:
            raise ValueError(f"sinc_prob: got {sinc_prob}; expected a number from 0 to 1")
        shapes = {"betag_range": list(betag_range), "betap_range": list(betap_range)}
        kernels = [_kernel(kind, list(blur_sigma), shapes) for kind in kernel_list]
        blur = one_of(*zip(kernel_prob, kernels, strict=True))
        sinc = {"type": "SincFilter", "kernel_size": SIDES}
        super().__init__(
            dataroot_gt, one_of((1 - sinc_prob, blur), (sinc_prob, sinc)), gt_size=gt_size, scale=scale, phase=phase,
            use_hflip=use_hflip, use_rot=use_rot, label=label, seed=seed, io_backend=io_backend, name=name, color=color,
        )  # fmt: skip


def _kernel(kind: str, sigma: list[float], shapes: Mapping[str, list[float]]) -> dict[str, Any]:
    """The degradation of one kind of kernel."""
    op, isotropic, shape = KERNELS[kind]
    if kind == "iso":
        return {"type": op, "sigma": sigma, "kernel_size": SIDES}
    turned = {"type": op, "sigma_x": sigma, "sigma_y": sigma, "kernel_size": SIDES}
    return turned if shape is None else {**turned, "beta": shapes[shape], "isotropic_probability": isotropic}
