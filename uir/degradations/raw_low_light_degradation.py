"""Low light: a camera receives too few photons; raw data are dark and noisy, and are processed as usual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from uir.core.seeds import numpy_generator
from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.fields import normal
from uir.degradations.low_light_degradation import power
from uir.degradations.raw_degradation import Sensor
from uir.degradations.raw_pipeline import GAMMA, add_shot_and_read_noise, to_display, to_linear, white_balance
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

DARKNESS_MEAN, DARKNESS_DEVIATION, DARKNESS_RANGE = 0.1, 0.08, (0.01, 1.0)


@DEGRADATION_REGISTRY.register()
class RawLowLight(Degradation):
    """Low light in raw: unprocess, x·k + N(0, shot·x·k + read), quantise, process (MAET, Cui et al., ICCV 2021).

    Unprocessing and processing are those of `RawNoise` with another gamma. The sensor values are rounded to a number of
    bits; the paper adds uniform noise of that width instead.

    Args:
        darkness: k, in [0, 1]. Default, as published: N(0.1, 0.08) within [0.01, 1].
        gamma: gamma of the display, above 0.
        shot, read, red_gain, blue_gain, digital_gain: see `RawNoise`.
        bits: bits of the sensor values, 1 to 16; default {choice: [12, 14, 16]}.
    """

    family: ClassVar[str] = "low_light"
    severities: ClassVar[tuple[dict[str, Any], ...]] = (
        {"darkness": 0.4, "gamma": 2.5, "shot": 0.001},
        {"darkness": 0.15, "gamma": 2.5, "shot": 0.002},
        {"darkness": 0.05, "gamma": 2.5, "shot": 0.004},
    )

    def __init__(
        self,
        darkness: Numbers | None = None,
        gamma: Numbers = (2.0, 3.5),
        shot: Numbers = (1e-4, 0.012),
        read: Numbers | None = None,
        red_gain: Numbers = (1.9, 2.4),
        blue_gain: Numbers = (1.5, 1.9),
        digital_gain: Numbers | None = None,
        bits: Numbers | None = None,
    ) -> None:
        self.darkness = None if darkness is None else Values.of("RawLowLight.darkness", darkness, 0, 1)
        self.gamma = Values.of("RawLowLight.gamma", gamma, 0.1)
        self.sensor = Sensor("RawLowLight", shot, read, red_gain, blue_gain, digital_gain)
        depths: Numbers = {"choice": [12, 14, 16]} if bits is None else bits
        self.bits = Values.of("RawLowLight.bits", depths, 1, 16, integer=True)

    def sample(self, seed: int, size: Size) -> Params:
        """`darkness`, `gamma`, `bits`, `shot`, `read`, `red_gain`, `blue_gain`, `digital_gain` and `seed`."""
        return {
            "darkness": _published_darkness(seed) if self.darkness is None else self.darkness.draw(seed),
            "gamma": self.gamma.draw(seed),
            "bits": self.bits.draw(seed),
            **self.sensor.draw(seed),
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`.

        Raises:
            ValueError: the image has neither one nor three channels.
        """
        check_image(image, "RawLowLight")
        if image.shape[-3] not in (1, 3):
            raise ValueError(f"RawLowLight: expected 1 or 3 channels, got shape {list(image.shape)}")
        display = working(image)
        gains = white_balance(params["digital_gain"], params["red_gain"], params["blue_gain"], display)
        gains = gains if image.shape[-3] == 3 else gains[1:2]  # a grey image is treated as the green channel
        raw = power(to_linear(display), params["gamma"] / GAMMA) * (params["darkness"] / gains)
        z = normal(params, *image.shape[-3:]).to(raw)
        noisy = add_shot_and_read_noise(raw, params["shot"], params["read"], z)
        highest = 2 ** params["bits"] - 1
        counted = torch.round(noisy.clamp(0, 1) * highest) / highest
        return to_display(power((counted * gains).clamp(0, 1), GAMMA / params["gamma"])).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """Fraction of brightness that a displayed pixel of 0.5 loses by the darkness."""
        encoded = 0.5 * params["darkness"] ** (1 / params["gamma"])
        return float(1 - 2 * encoded**2 * (3 - 2 * encoded))


def _published_darkness(seed: int) -> float:
    generator = numpy_generator(seed, "darkness")
    while True:
        value = float(generator.normal(DARKNESS_MEAN, DARKNESS_DEVIATION))
        if DARKNESS_RANGE[0] <= value <= DARKNESS_RANGE[1]:
            return value
