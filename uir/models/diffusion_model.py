"""What the trainings of diffusion restorers share: random times, states with noise, and a loss on the estimate."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from uir.inference.predictor import conditions_of
from uir.models.base_model import BaseModel, offers

SLOT = "diffusion_opt"


class Learned(NamedTuple):
    """The states of a batch.

    Attributes:
        times: [B].
        degraded: images [B, C, H, W] as the network gets them.
        state: those with noise.
        target: what the estimate is compared with.
    """

    times: Tensor
    degraded: Tensor
    state: Tensor
    target: Tensor


class DiffusionModel(BaseModel):
    """Trains `network_g(lq, noisy, timestep)`, which estimates a quantity in a state with noise.

    The loss `diffusion_opt` compares the estimate with its target. Any other loss `<name>_opt` on images gets the clean
    image that follows from the estimate in one step. Noise and times come from torch's generator. A subclass says what
    the state, the target and the image are.
    """

    loss_slots: ClassVar[tuple[str, ...]] = (SLOT, "pixel_opt", "perceptual_opt")
    open_losses: ClassVar[bool] = True
    process: ClassVar[str]
    """Name of the class of the schedule that the network must have."""
    networks: ClassVar[str]
    """Networks that fit, for messages."""

    def check_network(self, role: str, network: nn.Module) -> None:
        """Check that the network estimates states of this diffusion."""
        super().check_network(role, network)
        if role != "g":
            return
        schedule = type(getattr(network, "schedule", None)).__name__
        if not {"noisy", "timestep"} <= set(conditions_of(network)[0]) or schedule != self.process:
            raise ValueError(
                f"network_g: {type(network).__name__} does not estimate states of the diffusion of "
                f"{type(self).__name__}; use {self.networks}, or model_type: SRModel"
            )

    @property
    def schedule(self) -> Any:
        """The schedule of the network."""
        return self.bare["g"].schedule

    def make_state(self) -> Learned:
        """Draw times and noise for the batch."""
        raise NotImplementedError

    def target_estimate(self, learned: Learned, output: Tensor) -> Tensor:
        """What is compared with the target, of the network's output."""
        return output

    def clean_estimate(self, learned: Learned, output: Tensor) -> Tensor:
        """The clean images in [0, 1] that follow from the network's output."""
        raise NotImplementedError

    def run_network(self, learned: Learned) -> Tensor:
        """The network's output for the states, float32."""
        output: Tensor = self.net_g(learned.degraded, learned.state, self.network_time(learned.times))
        return output.float()

    def network_time(self, times: Tensor) -> Tensor:
        """The times as the network gets them."""
        return times.float()

    @offers("learned")
    def _learned(self) -> Learned:
        return self.make_state()

    @offers("network_output", runs=("g",))
    def _network_output(self) -> Tensor:
        return self.run_network(self.value("learned"))

    @offers("estimate", runs=("g",))
    def estimate(self) -> Tensor:
        """What `diffusion_opt` compares with `estimate_target`."""
        return self.target_estimate(self.value("learned"), self.value("network_output"))

    @offers("estimate_target")
    def estimate_target(self) -> Tensor:
        """What the estimate should be."""
        target: Tensor = self.value("learned").target
        return target

    @offers("restored", runs=("g",))
    def restored_batch(self) -> Tensor:
        """The clean images that follow from the estimate in one step: [B, 3, H, W], float32."""
        return self.fits_gt(self.clean_estimate(self.value("learned"), self.value("network_output")))

    def value_for(self, slot: str, name: str) -> Any:
        """The inputs of a loss; `diffusion_opt` gets the estimate and its target."""
        names = {"restored": "estimate", "gt": "estimate_target"} if slot == SLOT else {}
        return self.value(names.get(name, name))

    def random_times(self, first: int, last: int) -> Tensor:
        """A time for each image, evenly from `first` to `last`, both included [B]."""
        return torch.randint(first, last + 1, (len(self.lq),), device=self.device)
