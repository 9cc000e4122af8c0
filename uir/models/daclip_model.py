"""Training of DA-CLIP's restorer (Luo et al., ICLR 2024): IR-SDE with embeddings of content and degradation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from uir.config.roles import Role
from uir.inference.daclip_predictor import DACLIPPredictor
from uir.inference.predictor import Predictor, conditions_of
from uir.layers.code_widths import code_of_blank, widths_of
from uir.layers.degradation_code import DegradationCode
from uir.models.base_model import offers
from uir.models.diffusion_model import Learned
from uir.models.irsde_model import IRSDEModel
from uir.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class DACLIPModel(IRSDEModel):
    """IR-SDE whose network gets a code of the degraded image: `network_g(lq, code, noisy, timestep)`.

    `network_e` gives the code: any degradation encoder with a `vector`, or `CLIPEncoder`, whose code also has the
    `content`. It is trained together with `network_g` if the file has `optim_e`, and otherwise frozen, as published.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "e": Role(trained=None, averaged=True),
        "g": Role(averaged=True, supplied=("code_channels", "content_channels")),
    }
    predictor_type: ClassVar[type[Predictor]] = DACLIPPredictor
    networks: ClassVar[str] = "DACLIPUNet"

    net_e: Any

    def network_sizes(self, role: str) -> dict[str, Any]:
        """The widths of the embeddings, for the restorer."""
        return widths_of(code_of_blank(self.bare["e"])) if role == "g" else super().network_sizes(role)

    def check_network(self, role: str, network: nn.Module) -> None:
        """Check that the restorer takes a code."""
        super().check_network(role, network)
        if role == "g" and "code" not in conditions_of(network)[0]:
            raise ValueError(f"network_g: {type(network).__name__} takes no code; use {self.networks}, or IRSDEModel")

    def leaves_unused(self, role: str) -> bool:
        """An encoder may fill fields that nothing reads."""
        return role == "e" or super().leaves_unused(role)

    @offers("code", runs=("e",))
    def code(self) -> DegradationCode:
        """The embeddings of the degraded images."""
        code: DegradationCode = self.net_e(self.lq)
        return code

    def run_network(self, learned: Learned) -> Tensor:
        """The network's output for the states and the code, float32."""
        output: Tensor = self.net_g(
            learned.degraded, code=self.value("code"), noisy=learned.state, timestep=self.network_time(learned.times)
        )
        return output.float()
