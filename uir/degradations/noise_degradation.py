"""Additive white Gaussian noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.values import Numbers, Values, check_probability, coin
from uir.registry import DEGRADATION_REGISTRY
from uir.seeds import torch_generator


@DEGRADATION_REGISTRY.register()
class GaussianNoise(Degradation):
    """Additive white Gaussian noise of standard deviation σ, in grey levels of 255.

    Args:
        sigma: σ on the scale 0–255, at least 0. Benchmarks use {choice: [15, 25, 50]}, blind denoising [0, 55].
        grey_probability: how often all channels share one noise field.
        clip: clip the result to [0, 1]. Protocols differ: DCPT's tests do not clip, PromptIR's do.
        quantise: round the result to multiples of 1/255, as a file of 8 bits would.
    """

    def __init__(
        self,
        sigma: Numbers = (5.0, 50.0),
        grey_probability: float = 0.0,
        clip: bool = True,
        quantise: bool = False,
    ) -> None:
        self.sigma = Values.of("GaussianNoise.sigma", sigma, 0)
        self.grey_probability = check_probability("GaussianNoise.grey_probability", grey_probability)
        for name, flag in (("clip", clip), ("quantise", quantise)):
            if not isinstance(flag, bool):
                raise ValueError(f"GaussianNoise.{name}: expected true or false, got {flag!r}")
        self.clip = clip
        self.quantise = quantise

    def sample(self, seed: int, size: Size) -> Params:
        """`sigma_255`, `grey`, `clip`, `quantise` and `seed`."""
        return {
            "sigma_255": self.sigma.draw(seed),
            "grey": coin(seed, "grey", self.grey_probability),
            "clip": self.clip,
            "quantise": self.quantise,
            "seed": seed,
        }

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`. Outside [0, 1] where `clip` is false."""
        check_image(image, "GaussianNoise")
        clear = working(image)
        channels, height, width = image.shape[-3:]
        noisy = clear + noise_field(params, (channels, height, width)).to(clear)
        if params["clip"]:
            noisy = noisy.clamp(0, 1)
        if params["quantise"]:
            noisy = torch.round(noisy * 255) / 255
        return noisy.to(image.dtype)


def noise_field(params: Mapping[str, Any], shape: tuple[int, int, int]) -> Tensor:
    """The noise that is added, on the scale 0–1, on the CPU: [C, H, W], or [1, H, W] where `grey`."""
    channels, height, width = shape
    generator = torch_generator(params["seed"])
    field = torch.randn(1 if params["grey"] else channels, height, width, generator=generator)
    return field * (params["sigma_255"] / 255)
