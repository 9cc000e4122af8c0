"""Low light by gamma and linear darkening."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from uir.degradations.base import Degradation, Params, Size, check_image, working
from uir.degradations.noise_degradation import noise_field
from uir.degradations.values import Numbers, Values
from uir.registry import DEGRADATION_REGISTRY

SMALLEST = torch.finfo(torch.float32).tiny  # stands for black, whose logarithm is infinite


@DEGRADATION_REGISTRY.register()
class LowLight(Degradation):
    """Low light: I = β·(α·J)^γ, then optional Gaussian noise (Lv et al., IJCV 2021, with the ranges published there).

    Args:
        alpha: linear darkening before the curve, in [0, 1].
        beta: linear darkening after it, in [0, 1].
        gamma: exponent, at least 0; above 1 darkens.
        noise_sigma: standard deviation of the noise that low light brings, in grey levels of 255; 0 for none.
    """

    def __init__(
        self,
        alpha: Numbers = (0.9, 1.0),
        beta: Numbers = (0.5, 1.0),
        gamma: Numbers = (1.5, 5.0),
        noise_sigma: Numbers = 0.0,
    ) -> None:
        self.alpha = Values.of("LowLight.alpha", alpha, 0, 1)
        self.beta = Values.of("LowLight.beta", beta, 0, 1)
        self.gamma = Values.of("LowLight.gamma", gamma, 0)
        self.noise_sigma = Values.of("LowLight.noise_sigma", noise_sigma, 0)

    def sample(self, seed: int, size: Size) -> Params:
        """`alpha`, `beta`, `gamma`, `noise_sigma_255`, and `seed` where there is noise."""
        params: Params = {
            "alpha": self.alpha.draw(seed),
            "beta": self.beta.draw(seed),
            "gamma": self.gamma.draw(seed),
            "noise_sigma_255": self.noise_sigma.draw(seed),
        }
        return {**params, "seed": seed} if params["noise_sigma_255"] > 0 else params

    @staticmethod
    def apply(image: Tensor, params: Mapping[str, Any]) -> Tensor:
        """See `Degradation.apply`."""
        check_image(image, "LowLight")
        scaled = (params["alpha"] * working(image)).clamp(min=SMALLEST)
        # not `scaled ** gamma`: on a CPU its last bit depends on a pixel's place in memory and on the number of threads
        dark = params["beta"] * torch.exp(params["gamma"] * torch.log(scaled))
        if params["noise_sigma_255"] > 0:
            channels, height, width = image.shape[-3:]
            noise = {"sigma_255": params["noise_sigma_255"], "grey": False, "seed": params["seed"]}
            dark = dark + noise_field(noise, (channels, height, width)).to(dark)
        return dark.clamp(0, 1).to(image.dtype)
