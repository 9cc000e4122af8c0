"""Noise of displayed images: Gaussian, Poisson, speckle, salt and pepper."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from uir.core.seeds import numpy_generator
from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.fields import normal, uniform
from uir.degradations.poisson import LEVELS, poisson_deviation
from uir.degradations.values import Numbers, Values, check_probability, coin
from uir.registry import DEGRADATION_REGISTRY

LUMA = (0.299, 0.587, 0.114)  # BT.601
STRONGEST_255 = 75.0  # the largest standard deviation that is common in denoising papers


@DEGRADATION_REGISTRY.register()
class GaussianNoise(Degradation):
    """Additive white Gaussian noise: I = J + n, n ~ N(0, σ²), σ in grey levels of 255.

    Args:
        sigma: σ on the scale 0–255, at least 0. Benchmarks use {choice: [15, 25, 50]}, blind denoising [0, 55].
        grey_probability: probability that all channels share one noise field (BSRGAN and Real-ESRGAN: 0.4).
        clip: clip the result to [0, 1]. Protocols differ: DCPT's tests do not clip, PromptIR's do.
        quantise: round the result to multiples of 1/255, as in an 8-bit file.
        correlated_probability: probability of correlated noise between the channels, by a random covariance (BSRGAN:
            0.2; Zhang et al., ICCV 2021); as there, σ is then the largest possible value. Grey and correlated exclude
            each other.
    """

    family: ClassVar[str] = "noise"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"sigma": 15}, {"sigma": 25}, {"sigma": 50})
    draws_on_device: ClassVar[bool] = True

    def __init__(
        self,
        sigma: Numbers = (5.0, 50.0),
        grey_probability: float = 0.0,
        clip: bool = True,
        quantise: bool = False,
        correlated_probability: float = 0.0,
    ) -> None:
        self.sigma = Values.of("GaussianNoise.sigma", sigma, 0)
        self.mixing = ChannelMixing("GaussianNoise", grey_probability, correlated_probability)
        self.clip = check_flag("GaussianNoise.clip", clip)
        self.quantise = check_flag("GaussianNoise.quantise", quantise)

    def sample(self, seed: int, size: Size) -> Params:
        """`sigma_255`, `grey`, `channel_covariance` (in σ², or null), `clip`, `quantise` and `seed`."""
        return {
            **self.mixing.draw(seed, self.sigma),
            "clip": self.clip,
            "quantise": self.quantise,
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`. Values may be outside [0, 1] if `clip` is false."""
        check_image(image, "GaussianNoise")
        clear = working(image)
        return _finished(clear + noise_field(params, _shape(image)).to(clear), params).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """σ / 75."""
        return noise_severity(params["sigma_255"])

    @classmethod
    def apply_each(cls, images: Tensor, params: Sequence[Mapping[str, Any]]) -> Tensor:
        """See `Degradation.apply_each`; the fields are drawn one by one and added together at once."""
        if len({(own["clip"], own["quantise"]) for own in params}) != 1:
            return super().apply_each(images, params)
        check_image(images, cls.__name__)
        clear = working(images)
        return _finished(clear + _noise_fields(params, images).to(clear), params[0]).to(images.dtype)


@DEGRADATION_REGISTRY.register()
class SpeckleNoise(Degradation):
    """Speckle: I = J·(1 + n), n ~ N(0, σ²) (ranges and probabilities of BSRGAN, Zhang et al., ICCV 2021).

    Args:
        sigma: σ on the scale 0–255, for a white pixel, at least 0.
        grey_probability: probability that all channels share one noise field.
        correlated_probability: probability of correlated noise between the channels; see `GaussianNoise`.
    """

    family: ClassVar[str] = "noise"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"sigma": 10}, {"sigma": 25}, {"sigma": 60})
    draws_on_device: ClassVar[bool] = True

    def __init__(
        self, sigma: Numbers = (2.0, 25.0), grey_probability: float = 0.4, correlated_probability: float = 0.2
    ) -> None:
        self.sigma = Values.of("SpeckleNoise.sigma", sigma, 0)
        self.mixing = ChannelMixing("SpeckleNoise", grey_probability, correlated_probability)

    def sample(self, seed: int, size: Size) -> Params:
        """`sigma_255`, `grey`, `channel_covariance` (in σ², or null) and `seed`."""
        return {**self.mixing.draw(seed, self.sigma), "seed": seed}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "SpeckleNoise")
        clear = working(image)
        field = noise_field(params, _shape(image)).to(clear)
        return (clear * field.add_(1)).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """The standard deviation on mid-grey, σ/2, divided by 75."""
        return noise_severity(0.5 * params["sigma_255"])

    @classmethod
    def apply_each(cls, images: Tensor, params: Sequence[Mapping[str, Any]]) -> Tensor:
        """See `Degradation.apply_each`; the fields are drawn one by one and multiplied at once."""
        check_image(images, cls.__name__)
        clear = working(images)
        return (clear * _noise_fields(params, images).to(clear).add_(1)).clamp_(0, 1).to(images.dtype)


@DEGRADATION_REGISTRY.register()
class PoissonNoise(Degradation):
    """Poisson noise: I = J + s·(k/v − Q), k ~ Poisson(v·Q), Q the image in 8 bits, v the photons at white.

    Two published forms. Real-ESRGAN (Wang et al., ICCVW 2021; the default, with the ranges of its first order): v is
    the number of distinct levels in the image, rounded up to a power of two, so only s determines the strength.
    BSRGAN (Zhang et al., ICCV 2021): s = 1 and v = 10^U(2, 4).

    Args:
        scale: s, at least 0.
        log10_photons: log10 of v, in [0, 6]; BSRGAN: [2, 4] with scale 1. Default: from the image.
        grey_probability: probability that all channels share the noise of the luma; 0.4 in Real-ESRGAN, 0.5 in BSRGAN.
        clip: clip the result to [0, 1].
    """

    family: ClassVar[str] = "noise"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"scale": 0.5}, {"scale": 1.5}, {"scale": 3.0})
    draws_on_device: ClassVar[bool] = True

    def __init__(
        self,
        scale: Numbers = (0.05, 3.0),
        log10_photons: Numbers | None = None,
        grey_probability: float = 0.4,
        clip: bool = True,
    ) -> None:
        self.scale = Values.of("PoissonNoise.scale", scale, 0)
        self.log10_photons = (
            None if log10_photons is None else Values.of("PoissonNoise.log10_photons", log10_photons, 0, 6)
        )
        self.grey_probability = check_probability("PoissonNoise.grey_probability", grey_probability)
        self.clip = check_flag("PoissonNoise.clip", clip)

    def sample(self, seed: int, size: Size) -> Params:
        """`scale`, `photons` (null: from the image), `grey`, `clip` and `seed`."""
        return {
            "scale": self.scale.draw(seed),
            "photons": None if self.log10_photons is None else 10.0 ** self.log10_photons.draw(seed),
            "grey": coin(seed, "grey", self.grey_probability),
            "clip": self.clip,
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`. Values may be outside [0, 1] if `clip` is false."""
        check_image(image, "PoissonNoise")
        if image.ndim == 4 and params["photons"] is None:  # each image has its own levels
            return torch.stack([PoissonNoise.apply(single, params) for single in image])
        clear = working(image)
        source = luma(clear) if params["grey"] else clear
        levels = (source.float() * 255).round_().clamp_(0, LEVELS - 1)
        photons = photons_of(levels) if params["photons"] is None else params["photons"]
        z = normal(params, *_shape(levels)).to(levels.device)
        noise = poisson_deviation(levels.contiguous(), photons, z).mul_(params["scale"] / photons)
        noisy = clear + noise.to(clear)
        return (noisy.clamp_(0, 1) if params["clip"] else noisy).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """The standard deviation on mid-grey, 255·s·√(0.5/v), divided by 75; v = 256 if it comes from the image."""
        return noise_severity(255 * params["scale"] * math.sqrt(0.5 / (params["photons"] or LEVELS)))


@DEGRADATION_REGISTRY.register()
class SaltAndPepper(Degradation):
    """Salt and pepper: values set to 0 or 1, both equally often (amounts of ImageNet-C's impulse noise, ICLR 2019).

    Args:
        amount: fraction of the values that change, in [0, 1].
        grey_probability: probability that whole pixels change instead of single channels.
    """

    family: ClassVar[str] = "noise"
    severities: ClassVar[tuple[dict[str, Any], ...]] = ({"amount": 0.03}, {"amount": 0.09}, {"amount": 0.27})
    draws_on_device: ClassVar[bool] = True

    def __init__(self, amount: Numbers = (0.03, 0.27), grey_probability: float = 0.0) -> None:
        self.amount = Values.of("SaltAndPepper.amount", amount, 0, 1)
        self.grey_probability = check_probability("SaltAndPepper.grey_probability", grey_probability)

    def sample(self, seed: int, size: Size) -> Params:
        """`amount`, `grey` and `seed`."""
        return {
            "amount": self.amount.draw(seed),
            "grey": coin(seed, "grey", self.grey_probability),
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "SaltAndPepper")
        clear = working(image)
        channels, height, width = _shape(image)
        u = uniform(params, 1 if params["grey"] else channels, height, width)
        half = params["amount"] / 2
        hit = (u >= 1 - half).to(clear).sub_((u < half).to(clear))  # +1 salt, −1 pepper
        return (clear + hit.to(clear)).clamp_(0, 1).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """The standard deviation on mid-grey, 255·√amount/2, divided by 75."""
        return noise_severity(255 * 0.5 * math.sqrt(params["amount"]))


class ChannelMixing:
    """The relation between the noise of the three channels: independent, one field for all, or correlated.

    Args:
        op: the op's name, for messages.
        grey_probability, correlated_probability: probabilities of these; the noise is independent otherwise.
    """

    def __init__(self, op: str, grey_probability: float, correlated_probability: float) -> None:
        self.grey = check_probability(f"{op}.grey_probability", grey_probability)
        self.correlated = check_probability(f"{op}.correlated_probability", correlated_probability)
        if self.grey + self.correlated > 1 + 1e-9:
            raise ValueError(
                f"{op}: grey_probability {self.grey:g} and correlated_probability {self.correlated:g} exclude each "
                "other; their sum must be at most 1"
            )

    @property
    def is_plain(self) -> bool:
        """Whether the channels are always independent."""
        return self.grey == self.correlated == 0

    def draw(self, seed: int, sigma: Values) -> Params:
        """`sigma_255`, `grey` and `channel_covariance`."""
        grey = coin(seed, "grey", self.grey)
        correlated = not grey and self.correlated > 0 and coin(seed, "correlated", self.correlated / (1 - self.grey))
        return {
            "sigma_255": max(sigma.numbers) if correlated else sigma.draw(seed),
            "grey": grey,
            "channel_covariance": draw_channel_covariance(seed) if correlated else None,
        }


def draw_channel_covariance(seed: int) -> list[list[float]]:
    """BSRGAN's |UᵀDU|, 3x3, U a random orthogonal matrix and D = diag(U(0, 1)); the largest eigenvalue is below 3."""
    generator = numpy_generator(seed, "channel_covariance")
    variances = generator.random(3)
    orthogonal = np.linalg.svd(generator.random((3, 3)))[0]
    covariance: list[list[float]] = np.abs(orthogonal.T @ np.diag(variances) @ orthogonal).tolist()
    return covariance


def noise_field(params: Mapping[str, Any], shape: tuple[int, int, int]) -> Tensor:
    """The Gaussian noise of a record on the scale 0–1: [C, H, W], or [1, H, W] if `grey`.

    Raises:
        ValueError: correlation is needed for more than three channels.
    """
    channels, height, width = shape
    field = normal(params, 1 if params["grey"] else channels, height, width)
    if params.get("channel_covariance") is not None:
        field = _correlated(field, params["channel_covariance"])
    return field.mul_(params["sigma_255"] / 255)


def noise_severity(sigma_255: float) -> float:
    """Severity of noise of this standard deviation, in grey levels of 255: linear, 1 from 75 on."""
    return min(sigma_255 / STRONGEST_255, 1.0)


def photons_of(levels: Tensor) -> float:
    """Real-ESRGAN's v: the number of distinct grey levels, rounded up to a power of two; 256 for a meta tensor."""
    if levels.is_meta:
        return float(LEVELS)
    distinct = int(torch.count_nonzero(torch.bincount(levels.flatten().to(torch.int32), minlength=LEVELS)))
    return float(2 ** (distinct - 1).bit_length())


def luma(image: Tensor) -> Tensor:
    """BT.601 luma [..., 1, H, W] of RGB; the mean of any other number of channels."""
    planes = image.split(1, dim=-3)
    if len(planes) != 3:
        return functools.reduce(torch.add, planes) / len(planes)
    red, green, blue = planes
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def check_flag(where: str, given: Any) -> bool:
    """True or false.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(given, bool):
        raise ValueError(f"{where}: expected true or false, got {given!r}")
    return given


def _correlated(field: Tensor, covariance: Sequence[Sequence[float]]) -> Tensor:
    """White channels mixed by the symmetric root of the leading part of the covariance."""
    channels = field.shape[0]
    if channels > len(covariance):
        raise ValueError(f"correlated noise: expected at most {len(covariance)} channels, got {channels}")
    variances, axes = np.linalg.eigh(np.array(covariance)[:channels, :channels])
    root = (axes * np.sqrt(variances.clip(min=0))) @ axes.T
    # sums in a fixed order: the bits of a matrix product may depend on the number of threads
    rows = [[float(weight) * plane for weight, plane in zip(row, field, strict=True)] for row in root]
    return torch.stack([functools.reduce(torch.add, row) for row in rows])


def _noise_fields(params: Sequence[Mapping[str, Any]], images: Tensor) -> Tensor:
    shape = _shape(images)
    return torch.stack([noise_field(own, shape).expand(shape) for own in params])


def _finished(noisy: Tensor, params: Mapping[str, Any]) -> Tensor:
    if params["clip"]:
        noisy = noisy.clamp_(0, 1)
    return noisy.mul_(255).round_().div_(255) if params["quantise"] else noisy


def _shape(image: Tensor) -> tuple[int, int, int]:
    channels, height, width = image.shape[-3:]
    return channels, height, width
