"""Noise of a camera's sensor, as it appears after the camera's processing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from uir.core.seeds import numpy_generator
from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.fields import normal
from uir.degradations.noise_degradation import noise_severity
from uir.degradations.raw_pipeline import (
    GAMMA,
    add_shot_and_read_noise,
    at_least_two,
    demosaic,
    mix_colours,
    mosaic,
    to_display,
    to_linear,
    unmix_colours,
    white_balance,
)
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY


@DEGRADATION_REGISTRY.register()
class RawNoise(Degradation):
    """Raw noise: unprocess, add N(0, shot·x + read), process (Brooks et al., CVPR 2019, simplified).

    Tone curve, gamma and gains are undone and applied again; without noise the image is unchanged.

    Args:
        shot: variance per unit of raw signal, above 0; a range is drawn log-uniformly, as published.
        read: variance of black, at least 0. Default, as published: log read = 2.18·log shot + 1.20 + N(0, 0.26).
        red_gain, blue_gain: white balance relative to green, above 0.
        digital_gain: gain of all channels, above 0. Default, as published: 1 / N(0.8, 0.1).
    """

    family: ClassVar[str] = "noise"
    severities: ClassVar[tuple[dict[str, Any], ...]] = tuple(
        {"shot": shot, "digital_gain": 1.25} for shot in (0.001, 0.004, 0.012)
    )
    draws_on_device: ClassVar[bool] = True

    def __init__(
        self,
        shot: Numbers = (1e-4, 0.012),
        read: Numbers | None = None,
        red_gain: Numbers = (1.9, 2.4),
        blue_gain: Numbers = (1.5, 1.9),
        digital_gain: Numbers | None = None,
    ) -> None:
        self.sensor = Sensor("RawNoise", shot, read, red_gain, blue_gain, digital_gain)

    def sample(self, seed: int, size: Size) -> Params:
        """`shot`, `read`, `red_gain`, `blue_gain`, `digital_gain` and `seed`."""
        return {**self.sensor.draw(seed), "seed": seed}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`.

        Raises:
            ValueError: the image has neither one nor three channels.
        """
        display = _rgb_of(image, "RawNoise")
        gains = _gains(params, display)
        z = normal(params, *display.shape[-3:]).to(display)
        noisy = add_shot_and_read_noise(to_linear(display) / gains, params["shot"], params["read"], z)
        return _as_given(to_display(noisy * gains), image)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """The standard deviation on mid-grey after processing, to first order, over 75."""
        return sensor_severity(params)


@DEGRADATION_REGISTRY.register()
class CameraISP(Degradation):
    """Camera noise: raw noise on a Bayer pattern that is demosaiced (BSRGAN's, Zhang et al., ICCV 2021, simplified).

    As `RawNoise`, but the sensor mixes colours and measures one colour per pixel (RGGB). The others are interpolated
    bilinearly, so the noise is correlated between channels and neighbours, and fine detail is lost.

    Args:
        shot, read, red_gain, blue_gain, digital_gain: see `RawNoise`.
        crosstalk: the fraction of other colours in each channel of the sensor, in [0, 0.6].
    """

    family: ClassVar[str] = "noise"
    severities: ClassVar[tuple[dict[str, Any], ...]] = tuple(
        {"shot": shot, "digital_gain": 1.25} for shot in (0.001, 0.004, 0.012)
    )
    draws_on_device: ClassVar[bool] = True

    def __init__(
        self,
        shot: Numbers = (1e-4, 0.012),
        read: Numbers | None = None,
        red_gain: Numbers = (1.9, 2.4),
        blue_gain: Numbers = (1.5, 1.9),
        digital_gain: Numbers | None = None,
        crosstalk: Numbers = (0.1, 0.3),
    ) -> None:
        self.sensor = Sensor("CameraISP", shot, read, red_gain, blue_gain, digital_gain)
        self.crosstalk = Values.of("CameraISP.crosstalk", crosstalk, 0, 0.6)

    def sample(self, seed: int, size: Size) -> Params:
        """`shot`, `read`, `red_gain`, `blue_gain`, `digital_gain`, `crosstalk` and `seed`."""
        return {**self.sensor.draw(seed), "crosstalk": self.crosstalk.draw(seed), "seed": seed}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`.

        Raises:
            ValueError: the image has neither one nor three channels.
        """
        display = at_least_two(_rgb_of(image, "CameraISP"))
        gains = _gains(params, display)
        pattern = mosaic(mix_colours(to_linear(display), params["crosstalk"]) / gains)
        z = normal(params, *pattern.shape[-3:]).to(pattern)
        noisy = demosaic(add_shot_and_read_noise(pattern, params["shot"], params["read"], z))
        processed = to_display(unmix_colours((noisy * gains).clamp_(0, 1), params["crosstalk"]))
        height, width = image.shape[-2:]
        return _as_given(processed[..., :height, :width], image)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """The same as for `RawNoise`."""
        return sensor_severity(params)


class Sensor:
    """The distribution of a camera's noise and gains; arguments as in `RawNoise`.

    Args:
        op: the op's name, for messages.
    """

    def __init__(
        self,
        op: str,
        shot: Numbers,
        read: Numbers | None,
        red_gain: Numbers,
        blue_gain: Numbers,
        digital_gain: Numbers | None,
    ) -> None:
        self.shot = Values.of(f"{op}.shot", shot, 1e-9, 1)
        self.read = None if read is None else Values.of(f"{op}.read", read, 0, 1)
        self.red_gain = Values.of(f"{op}.red_gain", red_gain, 0.1)
        self.blue_gain = Values.of(f"{op}.blue_gain", blue_gain, 0.1)
        self.digital_gain = None if digital_gain is None else Values.of(f"{op}.digital_gain", digital_gain, 0.1)

    def draw(self, seed: int) -> Params:
        """`shot`, `read`, `red_gain`, `blue_gain`, `digital_gain`."""
        logarithm = replace(self.shot, numbers=tuple(map(math.log, self.shot.numbers))).draw(seed)
        if self.read is None:
            read = math.exp(2.18 * logarithm + 1.20 + float(numpy_generator(seed, "read").normal(0, 0.26)))
        else:
            read = self.read.draw(seed)
        if self.digital_gain is None:
            gain = 1 / max(float(numpy_generator(seed, "digital_gain").normal(0.8, 0.1)), 0.3)
        else:
            gain = self.digital_gain.draw(seed)
        return {
            "shot": math.exp(logarithm),
            "read": read,
            "red_gain": self.red_gain.draw(seed),
            "blue_gain": self.blue_gain.draw(seed),
            "digital_gain": gain,
        }


def sensor_severity(params: Mapping[str, Any]) -> float:
    """Severity of the noise of green on mid-grey, to first order through gamma and tone curve."""
    linear = 0.5**GAMMA  # the tone curve keeps 0.5, and its slope there is 1.5
    slope = 1.5 * 0.5 / (GAMMA * linear)
    gain = params["digital_gain"]
    deviation = gain * math.sqrt(params["shot"] * linear / gain + params["read"])
    return noise_severity(255 * slope * deviation)


def _gains(params: Mapping[str, Any], like: Tensor) -> Tensor:
    return white_balance(params["digital_gain"], params["red_gain"], params["blue_gain"], like)


def _rgb_of(image: Tensor, op: str) -> Tensor:
    check_image(image, op)
    if image.shape[-3] not in (1, 3):
        raise ValueError(f"{op}: expected 1 or 3 channels, got shape {list(image.shape)}")
    repeats = (1,) * (image.ndim - 3) + (3 // image.shape[-3], 1, 1)
    return working(image).repeat(repeats)


def _as_given(rgb: Tensor, image: Tensor) -> Tensor:
    """In the type of `image`; only green if it is grey."""
    return (rgb if image.shape[-3] == 3 else rgb[..., 1:2, :, :]).contiguous().to(image.dtype)
