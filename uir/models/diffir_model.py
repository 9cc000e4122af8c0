"""Training of DiffIR (Xia et al., ICCV 2023): a restorer by a prior of clean images, then a diffusion of the prior."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from uir.config.roles import Role
from uir.core.checkpoint import load_weights, read_weights
from uir.inference.predictor import Predictor, conditions_of
from uir.inference.prior_predictor import CleanPriorPredictor, PriorPredictor
from uir.models.base_model import BaseModel, offers
from uir.registry import MODEL_REGISTRY

logger = logging.getLogger("uir")


@MODEL_REGISTRY.register()
class DiffIRS1Model(BaseModel):
    """The first stage: `network_g(lq, gt)` restores by a prior that it computes of both images, such as `DiffIRS1`."""

    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt",)
    open_losses: ClassVar[bool] = True
    predictor_type: ClassVar[type[Predictor]] = CleanPriorPredictor

    def check_network(self, role: str, network: nn.Module) -> None:
        """Check that the restorer computes a prior of both images."""
        super().check_network(role, network)
        if not hasattr(network, "prior_of"):
            raise ValueError(f"network_g: {type(network).__name__} makes no prior of clean images; use DiffIRS1")

    @offers("restored", runs=("g",))
    def restored_batch(self) -> Tensor:
        """The output of `network_g` for the degraded and the clean images: [B, 3, H, W], float32.

        Raises:
            ValueError: its size differs from that of `gt`.
        """
        return self.fits_gt(self.net_g(self.lq, gt=self.clean_images()).float())


@MODEL_REGISTRY.register()
class DiffIRS2Model(BaseModel):
    """The second stage: a diffusion in `network_g`, such as `DiffIRS2`, learns the prior of the first, `network_s1`.

    Both start from the first stage: `path.pretrain_network_g` names its weights. `network_g` takes the U-Net of them,
    and `network_s1` all, unless `path.pretrain_network_s1` names others. In a staged file they are those of the stage
    before. `prior_opt` is called with the prior of the diffusion and that of `network_s1`, such as
    `L1Loss`. A stage with `prior_opt` alone trains encoder and denoiser, and does not run the U-Net.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "s1": Role(required_in=frozenset({"train"}), trained=False),
        "g": Role(averaged=True),
    }
    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "prior_opt")
    open_losses: ClassVar[bool] = True
    predictor_type: ClassVar[type[Predictor]] = PriorPredictor

    def load_network(self, role: str, network: nn.Module) -> None:
        """Load weights; `network_s1` without an own file takes those of a first stage that `network_g` starts from."""
        first: Path | None = getattr(self.path, "pretrain_network_g", None)
        own = getattr(self.path, "pretrain_network_s1", None)
        if role == "s1" and own is None and first is not None and self._is_first_stage(first):
            taken = load_weights(network, first, self.path.param_key_g or "params")  # type: ignore[attr-defined]
            logger.info("network_s1 starts from %s [%s]", first, taken)
        else:
            super().load_network(role, network)

    def loads_strictly(self, role: str) -> bool:
        """A first stage gives `network_g` only its U-Net."""
        file: Path | None = getattr(self.path, f"pretrain_network_{role}", None)
        is_first = role == "g" and file is not None and self._is_first_stage(file)
        return not is_first and super().loads_strictly(role)

    def _is_first_stage(self, file: Path) -> bool:
        """Whether a file's card says that it holds a network of the class of `network_s1`."""
        arch = read_weights(file)[1].get("arch", {})
        return bool(arch.get("type", "").rpartition(":")[2] == self.components["s1"].type.rpartition(":")[2])

    def check_network(self, role: str, network: nn.Module) -> None:
        """Check that both priors have the same width."""
        super().check_network(role, network)
        if role == "s1":
            if not hasattr(network, "prior_of"):
                raise ValueError(f"network_s1: {type(network).__name__} makes no prior of clean images; use DiffIRS1")
        elif "clean_prior" not in conditions_of(network)[0]:
            raise ValueError(f"network_g: {type(network).__name__} has no diffusion of a prior; use DiffIRS2")
        elif "s1" in self.bare and self.bare["s1"].prior_channels != network.prior_channels:
            raise ValueError(
                f"network_g.n_feats: its prior has {network.prior_channels} numbers, that of network_s1 "
                f"{self.bare['s1'].prior_channels}"
            )

    def leaves_unused(self, role: str) -> bool:
        """A loss on the prior alone does not run the U-Net."""
        return role == "g"

    @offers("clean_prior", runs=("s1",))
    def clean_prior(self) -> Tensor:
        """The prior of the degraded and the clean images, of the first stage [B, C]."""
        first: Any = self.bare["s1"]
        with torch.no_grad():
            prior: Tensor = first.prior_of(self.lq, self.clean_images())
        return prior

    @offers("restored_and_prior", runs=("g",))
    def restored_and_prior(self) -> tuple[Tensor | None, Tensor]:
        """The output of `network_g`, or None if only the prior is learned, and the prior of its diffusion."""
        with_image = set(self.losses) != {"prior_opt"}
        restored, prior = self.net_g(
            self.lq, clean_prior=self.value("clean_prior"), with_prior=True, with_image=with_image
        )
        return restored, prior

    @offers("prior", runs=("g",))
    def prior(self) -> Tensor:
        """The prior of the diffusion [B, C]."""
        prior: Tensor = self.value("restored_and_prior")[1]
        return prior

    @offers("restored", runs=("g",))
    def restored_batch(self) -> Tensor:
        """The output of `network_g` for the degraded images: [B, 3, H, W], float32.

        Raises:
            ValueError: its size differs from that of `gt`.
        """
        return self.fits_gt(self.value("restored_and_prior")[0].float())

    def value_for(self, slot: str, name: str) -> Any:
        """The loss on priors gets priors, whatever it calls its inputs."""
        if slot == "prior_opt":
            name = {"restored": "prior", "gt": "clean_prior"}.get(name, name)
        return super().value_for(slot, name)
