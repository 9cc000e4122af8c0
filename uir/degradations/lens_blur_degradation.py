"""Blur with one kernel for the whole image: low-pass, lens, shaking camera, and kernels from files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from uir.degradations.base import Params, Size
from uir.degradations.blur_degradation import WIDEST_SIGMA, KernelDegradation, odd_sides
from uir.degradations.kernel_files import read_kernels, squared
from uir.degradations.kernels import deviation_px, disk_kernel, sinc_kernel, trajectory_kernel
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

LARGEST_INLINE = 7  # side of a kernel written in an option file; a larger one would make every record long


@DEGRADATION_REGISTRY.register()
class SincFilter(KernelDegradation):
    """Sinc filter: ω·J₁(ω·r) / (2π·r), a circular low-pass that rings (Real-ESRGAN, ICCVW 2021, equation 6).

    Args:
        omega: cutoff frequency in radians per pixel, above 0 and at most π. If null, as published: uniform on
            [π/3, π] for kernels below 13 pixels, on [π/5, π] for larger ones.
        kernel_size: side of the kernel in pixels, odd.
    """

    severities = (
        {"omega": 2.6, "kernel_size": 21},
        {"omega": 1.6, "kernel_size": 21},
        {"omega": 0.7, "kernel_size": 21},
    )

    def __init__(self, omega: Numbers | None = None, kernel_size: Numbers = (7, 21)) -> None:
        self.omega = None if omega is None else Values.of("SincFilter.omega", omega, 0.01, math.pi)
        self.kernel_size = odd_sides("SincFilter.kernel_size", kernel_size, derived=False)

    def sample(self, seed: int, size: Size) -> Params:
        """`omega_rad` and `kernel_size`."""
        side = int(self.kernel_size.draw(seed))
        published = Values("omega", "uniform", (math.pi / (3 if side < 13 else 5), math.pi))
        return {"omega_rad": (self.omega or published).draw(seed), "kernel_size": side}

    @staticmethod
    def kernel(params: Mapping[str, Any]) -> Tensor:
        """See `sinc_kernel`."""
        return sinc_kernel(params["kernel_size"], params["omega_rad"])

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """0 at ω = π, 1 from π/5 down."""
        return min(1.0, (math.pi - params["omega_rad"]) / (0.8 * math.pi))


@DEGRADATION_REGISTRY.register()
class DefocusBlur(KernelDegradation):
    """Defocus blur: the mean over a disk x² + y² ≤ r² with a softened edge (ImageNet-C, Hendrycks & Dietterich, 2019).

    Args:
        radius: r in pixels, at least 0 (no blur); {choice: [3, 4, 6, 8, 10]} are the five severities of ImageNet-C.
        alias: σ of the Gaussian that softens the edge, in pixels, at least 0; 0.1 at the mildest severity, else 0.5.
    """

    severities = ({"radius": 3, "alias": 0.1}, {"radius": 6}, {"radius": 10})

    def __init__(self, radius: Numbers = (3.0, 10.0), alias: Numbers = 0.5) -> None:
        self.radius = Values.of("DefocusBlur.radius", radius, 0)
        self.alias = Values.of("DefocusBlur.alias", alias, 0)

    def sample(self, seed: int, size: Size) -> Params:
        """`radius_px` and `alias_px`."""
        return {"radius_px": self.radius.draw(seed), "alias_px": self.alias.draw(seed)}

    @staticmethod
    def kernel(params: Mapping[str, Any]) -> Tensor:
        """See `disk_kernel`."""
        return disk_kernel(params["radius_px"], params["alias_px"])

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Radius over 10 px."""
        return min(1.0, params["radius_px"] / 10)


@DEGRADATION_REGISTRY.register()
class TrajectoryBlur(KernelDegradation):
    """Camera-shake blur: the mean over a random path (Boracchi & Foi, TIP 2012; simulator and ranges of DeblurGAN).

    The path is drawn from the seed and never stored. The box around its exposed part is centred, so the image does not
    move.

    Args:
        length: length of the whole path in pixels, above 0.
        exposure: fraction of the path with an open shutter, above 0 and at most 1.
        anxiety: strength of the shake, at least 0 (a straight line).
        centripetal: pull back to the start, at least 0.
        shake_probability: probability of a reversal, in [0, 1], per time and unit of anxiety.
        shake: standard deviation of the Gaussian shakes, at least 0.
    """

    severities = (
        {"length": 60, "exposure": 0.1},
        {"length": 60, "exposure": 0.5},
        {"length": 60, "exposure": 1.0},
    )

    def __init__(
        self,
        length: Numbers = 60.0,
        exposure: Numbers | None = None,
        anxiety: Numbers = 0.005,
        centripetal: Numbers = (0.0, 0.7),
        shake_probability: Numbers = (0.0, 0.2),
        shake: Numbers = (0.0, 10.0),
    ) -> None:
        exposures: Numbers = {"choice": [0.01, 0.1, 0.5, 1.0]} if exposure is None else exposure
        self.length = Values.of("TrajectoryBlur.length", length, 0.01)
        self.exposure = Values.of("TrajectoryBlur.exposure", exposures, 0.0005, 1)
        self.anxiety = Values.of("TrajectoryBlur.anxiety", anxiety, 0)
        self.centripetal = Values.of("TrajectoryBlur.centripetal", centripetal, 0)
        self.shake_probability = Values.of("TrajectoryBlur.shake_probability", shake_probability, 0, 1)
        self.shake = Values.of("TrajectoryBlur.shake", shake, 0)

    def sample(self, seed: int, size: Size) -> Params:
        """`length_px`, `exposure`, `anxiety`, `centripetal`, `shake_probability`, `shake` and the path's `seed`."""
        return {
            "length_px": self.length.draw(seed),
            "exposure": self.exposure.draw(seed),
            "anxiety": self.anxiety.draw(seed),
            "centripetal": self.centripetal.draw(seed),
            "shake_probability": self.shake_probability.draw(seed),
            "shake": self.shake.draw(seed),
            "seed": seed,
        }

    @staticmethod
    def kernel(params: Mapping[str, Any]) -> Tensor:
        """See `trajectory_kernel`."""
        forces = (params[key] for key in ("anxiety", "centripetal", "shake_probability", "shake"))
        return trajectory_kernel(params["seed"], params["length_px"], params["exposure"], *forces)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Length of the exposed path over 60 px."""
        return min(1.0, params["length_px"] * params["exposure"] / 60)


@DEGRADATION_REGISTRY.register()
class KernelBlur(KernelDegradation):
    """Blur by given kernels: J ∗ k, a convolution (so a single bright pixel becomes k as stored).

    Args:
        file: `.npy` ([K, L] or [N, K, L]), `.mat` (such as Levin's eight, CVPR 2009; version 7.3 needs h5py, older ones
                scipy) or a grey image. The record contains its name.
        index: number of the kernel in the file, counted from 0; null: any of them.
        kernel: instead of a file, a small kernel as rows of numbers, up to 7×7.
    """

    severities = tuple({"kernel": [[1] * side] * side} for side in (3, 5, 7))

    def __init__(
        self, file: Path | None = None, index: Numbers | None = None, kernel: list[list[float]] | None = None
    ) -> None:
        if (file is None) == (kernel is None):
            raise ValueError("KernelBlur: needs either `file` or `kernel`")
        if kernel is not None:
            side = squared(kernel, "KernelBlur.kernel").shape[-1]
            if side > LARGEST_INLINE:
                raise ValueError(
                    f"KernelBlur.kernel: at most {LARGEST_INLINE}×{LARGEST_INLINE} numbers, got a side of {side}; put "
                    "larger ones in a file"
                )
        self.given = None if kernel is None else [[float(weight) for weight in row] for row in kernel]
        self.file = None if file is None else str(file)
        last = 0 if self.file is None else len(read_kernels(self.file)) - 1
        self.index = Values.of("KernelBlur.index", (0, last) if index is None else index, 0, last, integer=True)

    def sample(self, seed: int, size: Size) -> Params:
        """`kernel_file` and `kernel_index`, or `kernel`."""
        if self.file is None:
            return {"kernel": self.given}
        return {"kernel_file": self.file, "kernel_index": int(self.index.draw(seed))}

    @staticmethod
    def kernel(params: Mapping[str, Any]) -> Tensor:
        """The stored kernel, rotated by 180°: correlation with it equals convolution with the stored one."""
        if "kernel" in params:
            return squared(params["kernel"], "KernelBlur.kernel").flip(0, 1)
        kernels = read_kernels(params["kernel_file"])
        if not 0 <= params["kernel_index"] < len(kernels):
            raise ValueError(
                f"KernelBlur: '{params['kernel_file']}' has {len(kernels)} kernels; there is no "
                f"{params['kernel_index']}"
            )
        return kernels[params["kernel_index"]].flip(0, 1)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """The kernel's standard deviation divided by 10 px."""
        return min(1.0, deviation_px(KernelBlur.kernel(params)) / WIDEST_SIGMA)
