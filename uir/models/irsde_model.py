"""Training of IR-SDE (Luo et al., ICML 2023) and of Refusion's latent form (CVPRW 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.config.roles import Role
from uir.diffusion.mean_reverting import backward_mean, best_mean, clean_of, diffused
from uir.inference.mean_reverting_predictor import LatentMeanRevertingPredictor, MeanRevertingPredictor
from uir.inference.predictor import Predictor
from uir.models.base_model import offers
from uir.models.diffusion_model import DiffusionModel, Learned
from uir.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class IRSDEModel(DiffusionModel):
    """Trains a network to estimate the noise in states of a mean-reverting diffusion.

    `diffusion_opt: {type: L1Loss}` is published: it compares the step back that the estimate gives with the best one.
    """

    predictor_type: ClassVar[type[Predictor]] = MeanRevertingPredictor
    process: ClassVar[str] = "MeanRevertingSchedule"
    networks: ClassVar[str] = "ConditionalUNet or ConditionalNAFNet"

    def make_state(self) -> Learned:
        """States of random times; the target is the best state one time before."""
        return self.state_of(self.clean_images(), self.lq)

    def state_of(self, clean: Tensor, degraded: Tensor) -> Learned:
        """States of random times between clean and degraded images, or their latents."""
        schedule, times = self.schedule, self.random_times(1, self.schedule.timesteps)
        state = diffused(clean, degraded, torch.randn_like(clean), times, schedule)
        return Learned(times, degraded, state, best_mean(state, degraded, clean, times, times - 1, schedule))

    def target_estimate(self, learned: Learned, output: Tensor) -> Tensor:
        """The state one time before, by the reverse equation."""
        times = learned.times
        return backward_mean(learned.state, learned.degraded, output, times, times - 1, self.schedule)

    def clean_estimate(self, learned: Learned, output: Tensor) -> Tensor:
        """The clean images that follow from the noise."""
        return clean_of(learned.state, learned.degraded, output, learned.times, self.schedule)


class LatentStep(nn.Module):
    """Encodes two batches and decodes three combinations in one call, so that DDP counts each parameter once."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, lq: Tensor, gt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`lq` and `gt` themselves, and `gt` from its latents and the hidden features of `lq`."""
        net: Any = self.net
        size = (lq.shape[-2], lq.shape[-1])
        (of_lq, hidden_lq), (of_gt, hidden_gt) = net.encode(lq), net.encode(gt)
        pairs = ((of_lq, hidden_lq), (of_gt, hidden_gt), (of_gt, hidden_lq))
        first, second, third = (net.decode(latent, hidden, size) for latent, hidden in pairs)
        return first, second, third


@MODEL_REGISTRY.register()
class RefusionModel(IRSDEModel):
    """IR-SDE on small latents: `network_l` makes them and images of them, `network_g` estimates the noise in them.

    A stage trains the latents: `rebuild_opt` compares images with what is decoded of themselves, `replace_opt` clean
    images with what is decoded of their latents and the hidden features of the degraded ones. Another stage trains
    `network_g` with `diffusion_opt`. Losses on images go through the decoder.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "l": Role(trained=None, averaged=True),
        "g": Role(trained=None, averaged=True, supplied=("img_channel", "in_nc", "out_nc")),
    }
    loss_slots: ClassVar[tuple[str, ...]] = (*IRSDEModel.loss_slots, "rebuild_opt", "replace_opt")
    predictor_type: ClassVar[type[Predictor]] = LatentMeanRevertingPredictor

    net_l: Any

    def network_sizes(self, role: str) -> dict[str, Any]:
        """The channels of the latents, for the network that estimates their noise."""
        if role != "g":
            return super().network_sizes(role)
        channels = self.bare["l"].latent_channels
        return {"img_channel": channels, "in_nc": channels, "out_nc": channels}

    def check_network(self, role: str, network: nn.Module) -> None:
        """Check that the networks encode and estimate."""
        super().check_network(role, network)
        if role == "l" and not hasattr(network, "latent_channels"):
            raise ValueError(f"network_l: {type(network).__name__} makes no latents; use LatentUNet")

    def step_module(self, role: str, network: nn.Module) -> nn.Module:
        """The latents' network, for a pair of batches."""
        return LatentStep(network) if role == "l" else super().step_module(role, network)

    def leaves_unused(self, role: str) -> bool:
        """The losses of a stage may need one of the networks alone."""
        return True

    @offers("decoded", runs=("l",))
    def _decoded(self) -> tuple[Tensor, Tensor, Tensor]:
        decoded: tuple[Tensor, Tensor, Tensor] = self.net_l(self.lq, self.clean_images())
        return decoded

    @offers("rebuilt", runs=("l",))
    def rebuilt(self) -> Tensor:
        """Degraded and clean images, each decoded of itself."""
        return torch.cat(self.value("decoded")[:2]).float()

    @offers("rebuilt_target")
    def rebuilt_target(self) -> Tensor:
        """Degraded and clean images."""
        return torch.cat([self.lq, self.clean_images()])

    @offers("replaced", runs=("l",))
    def replaced(self) -> Tensor:
        """Clean images of their latents and the hidden features of the degraded ones."""
        replaced: Tensor = self.value("decoded")[2]
        return replaced.float()

    def value_for(self, slot: str, name: str) -> Any:
        """The inputs of a loss, by its slot."""
        names = {
            "rebuild_opt": {"restored": "rebuilt", "gt": "rebuilt_target"},
            "replace_opt": {"restored": "replaced"},
        }.get(slot, {})
        return super().value_for(slot, names.get(name, name))

    def make_state(self) -> Learned:
        """States between the latents of clean and degraded images."""
        latents: Any = self.bare["l"]
        with torch.no_grad():
            clean, degraded = (latents.encode(image)[0].float() for image in (self.clean_images(), self.lq))
        return self.state_of(clean, degraded)

    def clean_estimate(self, learned: Learned, output: Tensor) -> Tensor:
        """The image that is decoded of the clean latents."""
        latents: Any = self.bare["l"]
        _, hidden = latents.encode(self.lq)
        clean = super().clean_estimate(learned, output)
        restored: Tensor = latents.decode(clean, hidden, self.lq.shape[-2:])
        return restored.float()
