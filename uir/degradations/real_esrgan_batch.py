"""Real-ESRGAN's second-order degradation of a whole batch on its device, with BasicSR's keys and order of draws.

Unlike the recipe `realesrgan`, it keeps no records: the resizing, the kind of noise and the order at the end are drawn
once for a batch, as published. Kernels come with the batch (BasicSR's `RealESRGANDataset`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from uir.config.schema import Section
from uir.core.seeds import derive_seed
from uir.degradations.diffjpeg import diff_jpeg
from uir.degradations.filters import filter2d_each

Range = tuple[float, float]
Three = tuple[float, float, float]
_MODES = ("area", "bilinear", "bicubic")


class RealESRGANSettings(Section):
    """BasicSR's keys at the top of a file; the defaults are those of Real-ESRGAN's x4 file."""

    resize_prob: Three = Field((0.2, 0.7, 0.1), description="Probability of enlarging, reducing, keeping.")
    resize_range: Range = Field((0.15, 1.5), description="Smallest and largest factor.")
    gaussian_noise_prob: float = Field(0.5, ge=0, le=1, description="Probability of Gaussian noise; else Poisson.")
    noise_range: Range = Field((1, 30), description="Deviation of the Gaussian noise, in levels of 255.")
    poisson_scale_range: Range = Field((0.05, 3), description="Factor on Poisson noise.")
    gray_noise_prob: float = Field(0.4, ge=0, le=1, description="Probability of the same noise in all channels.")
    jpeg_range: Range = Field((30, 95), description="Quality of JPEG.")
    second_blur_prob: float = Field(0.8, ge=0, le=1, description="Probability of the second blur.")
    resize_prob2: Three = Field((0.3, 0.4, 0.3), description="The same for the second time.")
    resize_range2: Range = Field((0.3, 1.2), description="The same for the second time.")
    gaussian_noise_prob2: float = Field(0.5, ge=0, le=1, description="The same for the second time.")
    noise_range2: Range = Field((1, 25), description="The same for the second time.")
    poisson_scale_range2: Range = Field((0.05, 2.5), description="The same for the second time.")
    gray_noise_prob2: float = Field(0.4, ge=0, le=1, description="The same for the second time.")
    jpeg_range2: Range = Field((30, 95), description="The same for the second time.")


@dataclass
class Draws:
    """The random generators of one batch: as BasicSR's global ones, but the batch's own.

    Attributes:
        plain: chooses among things.
        numbers: draws single numbers.
        fields: draws tensors, on their device.
    """

    plain: random.Random
    numbers: np.random.RandomState
    fields: torch.Generator

    @classmethod
    def of(cls, device: torch.device, *key: int | str) -> Draws:
        """The generators of a key."""
        seed = derive_seed(*key) % 2**32
        return cls(random.Random(seed), np.random.RandomState(seed), torch.Generator(device=device).manual_seed(seed))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        return float(self.numbers.uniform(low, high))

    def each(self, images: Tensor, bounds: Range) -> Tensor:
        """A number for each image, [B]."""
        drawn = torch.rand(len(images), dtype=images.dtype, device=images.device, generator=self.fields)
        return drawn * (bounds[1] - bounds[0]) + bounds[0]


def degrade_batch(
    clean: Tensor, kernels: Sequence[Tensor], scale: int, settings: RealESRGANSettings, draws: Draws
) -> Tensor:
    """Degrade clean images [B, 3, H, W] to [B, 3, H // scale, W // scale], rounded to 256 levels.

    Args:
        clean: the images, in [0, 1].
        kernels: the first blur's, the second's and the last sinc filter's, each [B, K, K].
        scale: H divided by the height of the result.
        settings: probabilities and ranges.
        draws: the generators.
    """
    first, second, sinc = kernels
    height, width = clean.shape[-2:]
    images = _blurred(clean, first)
    factor, mode = _size_drawn(draws, settings.resize_prob, settings.resize_range)
    images = F.interpolate(images, scale_factor=factor, mode=mode)
    images = _noisy(
        images, settings.gaussian_noise_prob, settings.noise_range, settings.poisson_scale_range,
        settings.gray_noise_prob, draws,
    )  # fmt: skip
    images = _compressed(images, settings.jpeg_range, draws)

    if draws.uniform() < settings.second_blur_prob:
        images = _blurred(images, second)
    factor, mode = _size_drawn(draws, settings.resize_prob2, settings.resize_range2)
    images = F.interpolate(images, size=(int(height / scale * factor), int(width / scale * factor)), mode=mode)
    images = _noisy(
        images, settings.gaussian_noise_prob2, settings.noise_range2, settings.poisson_scale_range2,
        settings.gray_noise_prob2, draws,
    )  # fmt: skip

    def resized(given: Tensor) -> Tensor:
        mode = draws.plain.choice(_MODES)
        return _blurred(F.interpolate(given, size=(height // scale, width // scale), mode=mode), sinc)

    if draws.uniform() < 0.5:
        images = _compressed(resized(images), settings.jpeg_range2, draws)
    else:
        images = resized(_compressed(images, settings.jpeg_range2, draws))
    return (images * 255).round().clamp(0, 255) / 255


def _blurred(images: Tensor, kernels: Tensor) -> Tensor:
    return filter2d_each(images, list(kernels.cpu()))


def _size_drawn(draws: Draws, probabilities: Three, bounds: Range) -> tuple[float, str]:
    kind = draws.plain.choices(["up", "down", "keep"], probabilities)[0]
    factor = 1.0
    if kind != "keep":
        factor = draws.uniform(1, bounds[1]) if kind == "up" else draws.uniform(bounds[0], 1)
    return factor, draws.plain.choice(_MODES)


def _compressed(images: Tensor, bounds: Range, draws: Draws) -> Tensor:
    quality = images.new_zeros(len(images)).uniform_(*bounds, generator=draws.fields)
    return diff_jpeg(images.clamp(0, 1), quality, differentiable=False, legacy=True)


def _noisy(
    images: Tensor, gaussian: float, deviations: Range, poisson_scales: Range, grey: float, draws: Draws
) -> Tensor:
    """The images with Gaussian or Poisson noise, in [0, 1]."""
    is_gaussian = draws.uniform() < gaussian
    strength = draws.each(images, deviations if is_gaussian else poisson_scales).view(-1, 1, 1, 1)
    is_grey = (draws.each(images, (0, 1)) < grey).to(images).view(-1, 1, 1, 1)
    if is_gaussian:
        noise = _gaussian(images, strength / 255, is_grey, draws)
    else:
        noise = strength * _poisson(images, is_grey, draws)
    return (images + noise).clamp(0, 1)


def _gaussian(images: Tensor, deviation: Tensor, is_grey: Tensor, draws: Draws) -> Tensor:
    """As published, all grey images of a batch share one field."""

    def field(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=images.dtype, device=images.device, generator=draws.fields) * deviation

    shared = field(*images.shape[-2:]) if is_grey.any() else None
    noise = field(*images.shape)
    return noise if shared is None else noise * (1 - is_grey) + shared * is_grey


def _poisson(images: Tensor, is_grey: Tensor, draws: Draws) -> Tensor:
    """Each image counts as many photons as it has levels, rounded up to a power of two."""

    def counted(given: Tensor) -> Tensor:
        levels = (given * 255).round().clamp(0, 255) / 255
        counts = [2 ** np.ceil(np.log2(len(torch.unique(one)))) for one in levels]
        photons = levels.new_tensor(counts).view(-1, 1, 1, 1)
        return torch.poisson(levels * photons, generator=draws.fields) / photons - levels

    shared = None
    if is_grey.any():
        weights = images.new_tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)
        shared = counted((images * weights).sum(1, keepdim=True))
    noise = counted(images)
    return noise if shared is None else noise * (1 - is_grey) + shared * is_grey
