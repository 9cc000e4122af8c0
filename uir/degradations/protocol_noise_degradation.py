"""Gaussian noise as the tests of a publication make it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.fields import normal
from uir.degradations.noise_degradation import GaussianNoise, noise_severity
from uir.degradations.noise_rules import NOISE_RULES, NoiseRule, numpy_field
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY, nearest_names


@DEGRADATION_REGISTRY.register()
class ProtocolNoise(Degradation):
    """White Gaussian noise as the tests of a publication make it: its clipping, rounding and fields.

    Args:
        protocol: `dcpt` (not clipped, not rounded, numpy's field of seed 0 for every image), `maskdcpt` (the same,
            clipped), `promptir` (clipped, cut to 8 bits) or `blindsr_y` (clipped, rounded to 8 bits).
        sigma: σ on the scale 0–255, at least 0.
    """

    family: ClassVar[str] = "noise"
    severities: ClassVar[tuple[dict[str, Any], ...]] = tuple(
        {"protocol": "promptir", "sigma": sigma} for sigma in (15, 25, 50)
    )

    def __init__(self, protocol: str, sigma: Numbers = 25.0) -> None:
        if protocol not in NOISE_RULES:
            near = nearest_names(protocol, NOISE_RULES, count=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(
                f"ProtocolNoise.protocol: no rule for noise is called {protocol!r}; {hint}({', '.join(NOISE_RULES)})"
            )
        self.protocol = protocol
        self.sigma = Values.of("ProtocolNoise.sigma", sigma, 0)

    def sample(self, seed: int, size: Size) -> Params:
        """`protocol`, `sigma_255`, `clip`, `rounding`, and `numpy_seed` or the `seed` of the field."""
        rule = NOISE_RULES[self.protocol]
        params = {"protocol": self.protocol, "sigma_255": self.sigma.draw(seed), "clip": rule.clip}
        field = {"seed": seed} if rule.numpy_seed is None else {"numpy_seed": rule.numpy_seed}
        return {**params, "rounding": rule.rounding, **field}

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`. Values may be outside [0, 1] if the protocol does not clip."""
        check_image(image, "ProtocolNoise")
        clear = working(image)
        channels, height, width = image.shape[-3:]
        numpy_seed = params.get("numpy_seed")
        field = (
            normal(params, channels, height, width)
            if numpy_seed is None
            else numpy_field(numpy_seed, channels, height, width)
        )
        noisy = clear + (field * (params["sigma_255"] / 255)).to(clear)
        return NoiseRule(params["clip"], params["rounding"]).finish(noisy).to(image.dtype)

    @staticmethod
    def severity(params: Mapping[str, Any]) -> float:
        """σ / 75."""
        return noise_severity(params["sigma_255"])


def with_noise_of(protocol: str, degradation: Degradation) -> ProtocolNoise | None:
    """The noise of a protocol with the σ of `degradation`; None if that is not white Gaussian noise alone."""
    if not isinstance(degradation, GaussianNoise | ProtocolNoise):
        return None
    if isinstance(degradation, GaussianNoise) and not degradation.mixing.is_plain:
        return None
    noise = ProtocolNoise(protocol)
    noise.sigma = degradation.sigma
    return noise
