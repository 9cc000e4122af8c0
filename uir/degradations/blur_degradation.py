"""Blur with one kernel for the whole image: the base class, lines and the Gaussian family."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.filters import filter2d, filter2d_each
from uir.degradations.kernels import (
    gaussian_kernel,
    generalized_gaussian_kernel,
    line_kernel,
    plateau_kernel,
)
from uir.degradations.values import Numbers, Values, check_probability, coin
from uir.registry import DEGRADATION_REGISTRY, UnknownNameError

WIDEST_SIGMA = 10.0  # pixels: MANet's at a scale of 4 (Liang et al., ICCV 2021)


class KernelDegradation(Degradation):
    """Base of the ops that filter with one kernel under reflect padding; the record alone determines the kernel."""

    family: ClassVar[str] = "blur"

    @staticmethod
    @abstractmethod
    def kernel(params: Mapping[str, Any]) -> Tensor:
        """[K, K] float32 on the CPU, K odd; it is correlated with the image."""

    @classmethod
    def apply(cls, image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, cls.__name__)
        return filter2d(working(image), cls.kernel(params)).clamp_(0, 1).to(image.dtype)

    @classmethod
    def apply_each(cls, images: Tensor, params: Sequence[Mapping[str, Any]]) -> Tensor:
        """See `Degradation.apply_each`: one grouped convolution on devices other than the CPU."""
        check_image(images, cls.__name__)
        return filter2d_each(working(images), [cls.kernel(own) for own in params]).clamp_(0, 1).to(images.dtype)


def kernel_of(step: Mapping[str, Any]) -> Tensor:
    """The kernel [K, K] (float32, on the CPU, correlated) of a recorded step.

    Raises:
        ValueError: the step does not filter with one kernel.
    """
    try:
        op = DEGRADATION_REGISTRY.get(step["op"])
    except UnknownNameError:
        op = None
    if not (isinstance(op, type) and issubclass(op, KernelDegradation)):
        raise ValueError(f"kernel_of: {step['op']} does not filter with one kernel")
    return op.kernel(step)


def odd_sides(where: str, given: Numbers | None, derived: bool = True) -> Values:
    """Sides of kernels: an odd number, [low, high] (any odd number between), or {choice: [odd numbers]}.

    Args:
        where: `Op.parameter`, for messages.
        given: the user's value.
        derived: whether 0 and None are allowed: the side then follows from σ.

    Raises:
        ValueError: a number is even, or the value has none of the three forms.
    """
    sides = Values.of(where, 0 if given is None else given, 0 if derived else 1, integer=True)
    if any(side % 2 == 0 and not (derived and side == 0) for side in sides.numbers):
        raise ValueError(f"{where}: the sides of a kernel are odd, got {given!r}")
    if sides.kind == "uniform":
        low, high = (int(side) for side in sides.numbers)
        if low == 0:
            raise ValueError(f"{where}: a range starts at 1 or above, got {given!r}")
        return Values(sides.name, "choice", tuple(range(low, high + 1, 2)), integer=True)
    return sides


def side_for(side: float, sigma_px: float) -> int:
    """The drawn side, or, if it is 0, a side with four standard deviations in each direction."""
    return int(side) or 2 * math.ceil(4 * sigma_px) + 1


@DEGRADATION_REGISTRY.register()
class MotionBlur(KernelDegradation):
    """Linear motion blur: the mean over a straight path (lengths as in Sun et al., CVPR 2015).

    Reflect padding; lengths up to 25 px in any direction.

    Args:
        length: length of the path in pixels, at least 1 (no blur).
        angle: degrees counter-clockwise from the horizontal; a range of 180 covers every direction.
        sigma: standard deviation in pixels, at least 0.1, of Gaussian weights along the path; null: the plain mean. The
            five severities of ImageNet-C (Hendrycks & Dietterich, ICLR 2019) are (length, sigma) = (21, 3), (31, 5),
            (31, 8), (31, 12) and (41, 15).
    """

    severities = ({"length": 5, "angle": 30}, {"length": 13, "angle": 30}, {"length": 25, "angle": 30})

    def __init__(
        self, length: Numbers = (5.0, 25.0), angle: Numbers = (-90.0, 90.0), sigma: Numbers | None = None
    ) -> None:
        self.length = Values.of("MotionBlur.length", length, 1)
        self.angle = Values.of("MotionBlur.angle", angle)
        self.sigma = None if sigma is None else Values.of("MotionBlur.sigma", sigma, 0.1)

    def sample(self, seed: int, size: Size) -> Params:
        """`length_px`, `angle_deg`, and `sigma_px` if it is set; there is no field."""
        params: Params = {"length_px": self.length.draw(seed), "angle_deg": self.angle.draw(seed)}
        return params if self.sigma is None else {**params, "sigma_px": self.sigma.draw(seed)}

    @staticmethod
    def kernel(params: Mapping[str, Any]) -> Tensor:
        """See `line_kernel`."""
        return line_kernel(params["length_px"], params["angle_deg"], params.get("sigma_px"))

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Length of the path: 0 at 1 px (no blur), 1 from 25 px; with weights, of a mean of equal deviation."""
        length = params["length_px"]
        if "sigma_px" in params:
            length = min(length, math.sqrt(12) * params["sigma_px"])
        return min(1.0, max(0.0, length - 1) / 24)


@DEGRADATION_REGISTRY.register()
class IsotropicGaussianBlur(KernelDegradation):
    """Isotropic Gaussian blur: exp(−(x² + y²) / 2σ²) (σ of Real-ESRGAN; 0.2 to 4 in SRMD, IKC and DASR).

    Args:
        sigma: σ in pixels, at least 0 (no blur).
        kernel_size: side of the kernel in pixels, odd; Real-ESRGAN draws from [7, 21]; 0 or null: 2·⌈4σ⌉ + 1.
    """

    severities = ({"sigma": 0.8}, {"sigma": 2.0}, {"sigma": 4.0})

    def __init__(self, sigma: Numbers = (0.2, 3.0), kernel_size: Numbers | None = 21) -> None:
        self.sigma = Values.of("IsotropicGaussianBlur.sigma", sigma, 0)
        self.kernel_size = odd_sides("IsotropicGaussianBlur.kernel_size", kernel_size)

    def sample(self, seed: int, size: Size) -> Params:
        """`sigma_px` and `kernel_size`."""
        sigma = self.sigma.draw(seed)
        return {"sigma_px": sigma, "kernel_size": side_for(self.kernel_size.draw(seed), sigma)}

    @staticmethod
    def kernel(params: Mapping[str, Any]) -> Tensor:
        """See `gaussian_kernel`."""
        return gaussian_kernel(params["kernel_size"], params["sigma_px"])

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """σ over 10 px."""
        return min(1.0, params["sigma_px"] / WIDEST_SIGMA)


class TurnedKernelDegradation(KernelDegradation):
    """Base of the Gaussian family with two axes: draws both σ, the angle and the side.

    Attributes:
        exponent: a range is drawn evenly in this power of σ.
    """

    exponent: float = 1

    def _check(self, sigma_x: Numbers, sigma_y: Numbers | None, rotation: Numbers, kernel_size: Numbers | None) -> None:
        name = type(self).__name__
        self.sigma_x = Values.of(f"{name}.sigma_x", sigma_x, 0)
        self.sigma_y = Values.of(f"{name}.sigma_y", sigma_x if sigma_y is None else sigma_y, 0)
        self.rotation = Values.of(f"{name}.rotation", rotation)
        self.kernel_size = odd_sides(f"{name}.kernel_size", kernel_size)

    def _draw(self, seed: int, isotropic: bool = False) -> Params:
        sigma_x = self.sigma_x.draw(seed, self.exponent)
        sigma_y = sigma_x if isotropic else self.sigma_y.draw(seed, self.exponent)
        return {
            "sigma_x_px": sigma_x,
            "sigma_y_px": sigma_y,
            "angle_deg": 0.0 if isotropic else self.rotation.draw(seed),
            "kernel_size": side_for(self.kernel_size.draw(seed), max(sigma_x, sigma_y)),
        }

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Root mean square of both σ over 10 px."""
        return min(1.0, math.hypot(params["sigma_x_px"], params["sigma_y_px"]) / math.sqrt(2) / WIDEST_SIGMA)


@DEGRADATION_REGISTRY.register()
class AnisotropicGaussianBlur(TurnedKernelDegradation):
    """Anisotropic Gaussian blur: exp(−m/2), covariance R·diag(σx², σy²)·Rᵀ (Real-ESRGAN, ICCVW 2021, section 3.1).

    Args:
        sigma_x: standard deviation along the first axis in pixels, at least 0. DASR: [0.2, 4]; MANet at ×4: [0.7, 10].
        sigma_y: the same along the second axis; null: drawn from the range of `sigma_x`.
        rotation: degrees of the first axis from the horizontal, clockwise in the displayed image: the papers' angle,
            whose y axis points down.
        kernel_size: side of the kernel in pixels, odd; Real-ESRGAN draws from [7, 21]; 0 or null: 2·⌈4·max σ⌉ + 1.
        even_in: a range is drawn evenly in `sigma`, or in its square, the `variance` (BSRGAN).
    """

    severities = (
        {"sigma_x": 1.2, "sigma_y": 0.4, "rotation": 30},
        {"sigma_x": 3.0, "sigma_y": 1.0, "rotation": 30},
        {"sigma_x": 6.0, "sigma_y": 2.0, "rotation": 30, "kernel_size": 0},
    )

    def __init__(
        self,
        sigma_x: Numbers = (0.2, 3.0),
        sigma_y: Numbers | None = None,
        rotation: Numbers = (-180.0, 180.0),
        kernel_size: Numbers | None = 21,
        even_in: Literal["sigma", "variance"] = "sigma",
    ) -> None:
        self._check(sigma_x, sigma_y, rotation, kernel_size)
        if even_in not in ("sigma", "variance"):
            raise ValueError(f"AnisotropicGaussianBlur.even_in: expected sigma or variance, got {even_in!r}")
        self.exponent = 2 if even_in == "variance" else 1

    def sample(self, seed: int, size: Size) -> Params:
        """`sigma_x_px`, `sigma_y_px`, `angle_deg` and `kernel_size`."""
        return self._draw(seed)

    @staticmethod
    def kernel(params: Mapping[str, Any]) -> Tensor:
        """See `gaussian_kernel`."""
        return gaussian_kernel(params["kernel_size"], params["sigma_x_px"], params["sigma_y_px"], params["angle_deg"])


class ShapedKernelDegradation(TurnedKernelDegradation):
    """Base of the kernels with a shape β, isotropic or not."""

    def _check_shape(self, beta: Numbers, isotropic_probability: float) -> None:
        name = type(self).__name__
        self.beta = Values.of(f"{name}.beta", beta, 0.05)
        self.isotropic_probability = check_probability(f"{name}.isotropic_probability", isotropic_probability)

    def sample(self, seed: int, size: Size) -> Params:
        """`sigma_x_px`, `sigma_y_px`, `angle_deg`, `beta` and `kernel_size`.

        If a range of β contains 1, half of the draws are below 1, as published.
        """
        beta = self.beta
        low, high = beta.numbers[0], beta.numbers[-1]
        if beta.kind == "uniform" and low < 1 < high:
            beta = Values(beta.name, "uniform", (low, 1.0) if coin(seed, "beta_below_1", 0.5) else (1.0, high))
        params = self._draw(seed, coin(seed, "isotropic", self.isotropic_probability))
        return {**params, "beta": beta.draw(seed)}


@DEGRADATION_REGISTRY.register()
class GeneralizedGaussianBlur(ShapedKernelDegradation):
    """Generalised Gaussian blur: exp(−m^β/2), m the squared Mahalanobis distance (Real-ESRGAN, section 3.1).

    Args:
        sigma_x: scale along the first axis in pixels, at least 0.
        sigma_y: the same along the second axis; null: drawn from the range of `sigma_x`.
        rotation: degrees of the first axis from the horizontal, clockwise in the displayed image.
        beta: shape, at least 0.05; below 1 peaked with long tails, above 1 flat.
        isotropic_probability: probability of equal scales; Real-ESRGAN uses 0.12 isotropic to 0.03 anisotropic.
        kernel_size: side of the kernel in pixels, odd; 0 or null: 2·⌈4·max σ⌉ + 1.
    """

    severities = (
        {"sigma_x": 0.8, "beta": 1.5, "isotropic_probability": 1},
        {"sigma_x": 2.0, "beta": 1.5, "isotropic_probability": 1},
        {"sigma_x": 4.0, "beta": 1.5, "isotropic_probability": 1},
    )

    def __init__(
        self,
        sigma_x: Numbers = (0.2, 3.0),
        sigma_y: Numbers | None = None,
        rotation: Numbers = (-180.0, 180.0),
        beta: Numbers = (0.5, 4.0),
        isotropic_probability: float = 0.8,
        kernel_size: Numbers | None = (7, 21),
    ) -> None:
        self._check(sigma_x, sigma_y, rotation, kernel_size)
        self._check_shape(beta, isotropic_probability)

    @staticmethod
    def kernel(params: Mapping[str, Any]) -> Tensor:
        """See `generalized_gaussian_kernel`."""
        return generalized_gaussian_kernel(*_shaped(params))


@DEGRADATION_REGISTRY.register()
class PlateauBlur(ShapedKernelDegradation):
    """Plateau-shaped blur: 1 / (1 + m^β), m the squared Mahalanobis distance (Real-ESRGAN, section 3.1).

    Args:
        sigma_x: scale along the first axis in pixels, at least 0.
        sigma_y: the same along the second axis; null: drawn from the range of `sigma_x`.
        rotation: degrees of the first axis from the horizontal, clockwise in the displayed image.
        beta: shape, at least 0.05; the larger, the flatter the middle and the shorter the tails.
        isotropic_probability: probability of equal scales; Real-ESRGAN uses 0.12 isotropic to 0.03 anisotropic.
        kernel_size: side of the kernel in pixels, odd; 0 or null: 2·⌈4·max σ⌉ + 1. The tails reach beyond any.
    """

    severities = (
        {"sigma_x": 0.8, "beta": 1.5, "isotropic_probability": 1},
        {"sigma_x": 2.0, "beta": 1.5, "isotropic_probability": 1},
        {"sigma_x": 4.0, "beta": 1.5, "isotropic_probability": 1},
    )

    def __init__(
        self,
        sigma_x: Numbers = (0.2, 3.0),
        sigma_y: Numbers | None = None,
        rotation: Numbers = (-180.0, 180.0),
        beta: Numbers = (1.0, 2.0),
        isotropic_probability: float = 0.8,
        kernel_size: Numbers | None = (7, 21),
    ) -> None:
        self._check(sigma_x, sigma_y, rotation, kernel_size)
        self._check_shape(beta, isotropic_probability)

    @staticmethod
    def kernel(params: Mapping[str, Any]) -> Tensor:
        """See `plateau_kernel`."""
        return plateau_kernel(*_shaped(params))


def _shaped(params: Mapping[str, Any]) -> tuple[int, float, float, float, float]:
    return (
        params["kernel_size"], params["sigma_x_px"], params["sigma_y_px"], params["angle_deg"], params["beta"]
    )  # fmt: skip
