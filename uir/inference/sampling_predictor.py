"""What the predictors of diffusion restorers share: noise for a part of an image, and controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from uir.diffusion.noise import Draw, NoiseField
from uir.inference.controls import SEED, Control
from uir.inference.predictor import Place, Predictor, Whole

__all__ = ["SEED", "SamplingPredictor", "eta_control", "sampler_control", "steps_control"]


def steps_control(default: int) -> Control:
    """The number of times that a sampler visits."""
    return Control(
        "steps", "int", "Sampling steps, up to the times that the network knows; more are slower.", default, low=1
    )


def sampler_control(names: tuple[str, ...]) -> Control:
    """The samplers of a method; the first is its own."""
    return Control("sampler", "choice", "How a step is taken.", names[0], choices=names)


def eta_control(default: float) -> Control:
    """How much noise a sampler adds."""
    return Control("eta", "float", "New noise in every step: 0 for none, 1 for all of it.", default, low=0, high=1)


class SamplingPredictor(Predictor):
    """Restores with a network that estimates something in states with noise.

    Starting noise and new noise depend on the control `seed`, the image's name and the place in it alone: they are the
    same in any batch, for any tiles and any number of processes.
    """

    supplies: ClassVar[tuple[str, ...]] = ("noisy", "timestep")
    channels = 3
    """Channels of the state."""
    stride = 1
    """Pixels of the image for each pixel of the state."""

    def conditions(self, whole: Whole) -> dict[str, Any]:
        """The noise and the values of the controls."""
        field = NoiseField(whole.value("seed"), whole.names, self.channels)
        values = {control.name: whole.value(control.name) for control in self.controls if control.name != "seed"}
        return {"field": field, **values}

    def noise(self, conditions: Mapping[str, Any], place: Place, like: Tensor) -> tuple[Tensor, Draw]:
        """The starting noise of a part, and what draws the new noise of each time, on the device of `like`."""

        def draw(time: int) -> Tensor:
            return place.noise(conditions["field"], time + 1, self.stride).to(like.device)

        return place.noise(conditions["field"], 0, self.stride).to(like.device), draw
