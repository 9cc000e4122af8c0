"""Published evaluation protocols as seeded test sets: several degradations of the same photographs.

Each entry of `TEST_SETS` is a function that returns the degradations by the name of their folder. With a seed they give
the same files on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]

NINE_KERNELS = (
    (2.0, 0.2, 0), (2.0, 1.0, 10), (3.5, 1.5, 30), (3.5, 2.0, 45), (3.5, 2.0, 90), (4.0, 1.5, 120), (4.0, 2.0, 135),
    (4.0, 3.0, 165), (4.0, 4.0, 180),
)  # fmt: skip
"""Widths λ1 and λ2 in px and the angle in degrees of the nine anisotropic kernels of DASR (Wang et al., CVPR 2021)."""

GAUSSIAN8_WIDTHS = {2: (0.80, 1.60), 3: (1.35, 2.40), 4: (1.80, 3.20)}
"""First and last of the eight kernel widths of each scale (Gu et al., CVPR 2019, section 4.1)."""

DASR_WIDTHS = {2: (0.0, 0.6, 1.2, 1.8), 3: (0.0, 0.8, 1.6, 2.4), 4: (0.0, 1.2, 2.4, 3.6)}
"""Kernel widths of DASR's noise-free table (Wang et al., CVPR 2021, table 2)."""


@dataclass(frozen=True)
class TestSet:
    """Degradations of the same images.

    Attributes:
        subsets: `{type: ..., ...}` by the name of the folder.
        scale: size of a clean image divided by size of its degraded ones.
    """

    __test__ = False  # the name is the usual word in the field; pytest would treat it as a test

    subsets: dict[str, Spec]
    scale: int = 1


def gaussian8(scale: int = 4) -> TestSet:
    """Gaussian8: eight isotropic widths, then MATLAB's bicubic (Gu et al., CVPR 2019); scale 2, 3 or 4."""
    first, last = _of_scale("gaussian8", GAUSSIAN8_WIDTHS, scale)
    widths = [first + (last - first) * index / 7 for index in range(8)]
    return TestSet({f"width_{width:.2f}": _isotropic(scale, width) for width in widths}, scale)


def dasr_widths(scale: int = 4) -> TestSet:
    """The four isotropic widths of DASR's noise-free table; width 0 is only bicubic; scale 2, 3 or 4."""
    widths = _of_scale("dasr_widths", DASR_WIDTHS, scale)
    return TestSet({f"width_{width:.1f}": _isotropic(scale, width) for width in widths}, scale)


def nine_kernels(scale: int = 4) -> TestSet:
    """The nine anisotropic kernels of DASR, each with noise of 0, 5 and 10."""
    subsets = {}
    for index, (width_1, width_2, angle) in enumerate(NINE_KERNELS, start=1):
        for noise in (0, 5, 10):
            fixed = {"sigma_x": width_1, "sigma_y": width_2, "angle": float(angle), "noise": float(noise)}
            subsets[f"kernel{index}_noise{noise}"] = {"type": "dasr_wang_aniso", "scale": scale, **fixed}
    return TestSet(subsets, scale)


def denoising() -> TestSet:
    """White Gaussian noise of 15, 25 and 50, rounded to 8 bits (of CBSD68, Kodak24, McMaster, Urban100)."""
    noise = {"type": "GaussianNoise", "quantise": True}
    return TestSet({f"sigma_{sigma}": {**noise, "sigma": float(sigma)} for sigma in (15, 25, 50)})


def cdd11_classes() -> TestSet:
    """The eleven classes of CDD-11, each for every image (Guo et al., ECCV 2024)."""
    from uir.degradations.task_degradation import CDD11_CLASSES

    return TestSet({name: {"type": "cdd11", "classes": [name]} for name in CDD11_CLASSES})


def dasr_liang_types() -> TestSet:
    """Bicubic and the three levels of DASR (Liang et al., ECCV 2022), x4."""
    levels = {f"type{number}": level for number, level in enumerate(("weak", "standard", "severe"), start=1)}
    subsets: dict[str, Spec] = {"bicubic": _isotropic(4, 0.0)}
    subsets.update({name: {"type": "dasr_liang", "weights": {level: 1}} for name, level in levels.items()})
    return TestSet(subsets, 4)


TEST_SETS: dict[str, Callable[..., TestSet]] = {
    "gaussian8": gaussian8,
    "dasr_widths": dasr_widths,
    "nine_kernels": nine_kernels,
    "denoising": denoising,
    "cdd11_classes": cdd11_classes,
    "dasr_liang_types": dasr_liang_types,
}


def _isotropic(scale: int, width: float) -> Spec:
    return {"type": "dasr_wang_iso", "scale": scale, "sigma": width}


def _of_scale(name: str, table: dict[int, Any], scale: int) -> Any:
    if scale not in table:
        raise ValueError(f"{name}: there is no scale {scale}; the protocol has {', '.join(map(str, table))}")
    return table[scale]
